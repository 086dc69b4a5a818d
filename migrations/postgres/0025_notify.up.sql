-- What was told to whom. Unlike the other tables this is no projection of the log: it remembers what was done outside.

-- The message of an incident at a receiver, so that later facts change it instead of adding one. `card` is what it shows.
CREATE TABLE notify_threads (
    receiver    TEXT NOT NULL,
    incident_id UUID NOT NULL,
    channel     TEXT NOT NULL,
    ts          TEXT NOT NULL,
    card        JSONB NOT NULL,
    updated_at  TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (receiver, incident_id)
);

-- A notification that a receiver has had, or that waits for the summary of a storm. `line` is its line in that summary.
CREATE TABLE notify_deliveries (
    receiver        TEXT NOT NULL,
    notification_id UUID NOT NULL,
    outcome         TEXT NOT NULL CHECK (outcome IN ('sent', 'held', 'summarised')),
    severity        TEXT NOT NULL,
    line            TEXT NOT NULL,
    at              TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (receiver, notification_id)
);
CREATE INDEX notify_deliveries_by_outcome ON notify_deliveries (outcome, receiver);

-- The approve and deny buttons of a remediation: each pair opens once.
CREATE TABLE notify_buttons (
    nonce          UUID PRIMARY KEY NOT NULL,
    receiver       TEXT NOT NULL,
    remediation_id UUID NOT NULL,
    plan_hash      TEXT NOT NULL,
    made_at        TIMESTAMPTZ NOT NULL,
    used_at        TIMESTAMPTZ,
    used_by        TEXT,
    UNIQUE (receiver, remediation_id)
);
