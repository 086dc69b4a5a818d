-- What a receiver was not told because of a silence, the newest word about each matter: told when the silence is over and the matter is not.
-- `about` is the remediation, or the nil UUID for the incident itself. Who tells it takes it first, until `taken_until`.
CREATE TABLE notify_silenced (
    receiver     TEXT NOT NULL,
    incident_id  TEXT NOT NULL,
    about        TEXT NOT NULL,
    revision     BIGINT NOT NULL,
    silence_id   TEXT NOT NULL,
    notification TEXT NOT NULL,
    at           TEXT NOT NULL,
    taken_until  TEXT,
    tries        BIGINT NOT NULL DEFAULT 0,
    PRIMARY KEY (receiver, incident_id, about)
);
CREATE INDEX notify_silenced_by_silence ON notify_silenced (receiver, silence_id);
