-- The greatest token of each job that only one of several instances may do (ADR 45): a transaction with a lesser one is refused. No
-- projection of the log.
CREATE TABLE fences (
    name  TEXT PRIMARY KEY NOT NULL,
    token BIGINT NOT NULL
);
