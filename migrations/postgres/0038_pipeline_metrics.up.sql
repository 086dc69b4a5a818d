-- What dashboards ask for: the counts of the stages, what an incident event is about without opening its payload, and views by what
-- a signal is.

-- Sums of the accounting records of ten seconds, a projection of topic `accounting`. `at` is where the ten seconds begin; `input` and
-- `partition` say what the stage read. The identity of conservation: items + released = forwarded + merged + suppressed + late +
-- dead_lettered + held.
CREATE TABLE pipeline_metrics (
    at            TIMESTAMPTZ NOT NULL,
    stage         TEXT NOT NULL,
    input         TEXT NOT NULL,
    partition     BIGINT NOT NULL,
    commits       BIGINT NOT NULL,
    bodies        BIGINT NOT NULL,
    items         BIGINT NOT NULL,
    forwarded     BIGINT NOT NULL,
    merged        BIGINT NOT NULL,
    suppressed    BIGINT NOT NULL,
    late          BIGINT NOT NULL,
    dead_lettered BIGINT NOT NULL,
    held          BIGINT NOT NULL,
    released      BIGINT NOT NULL,
    produced      BIGINT NOT NULL,
    PRIMARY KEY (at, stage, input, partition)
);

-- Of the incident as it stands after the fact.
ALTER TABLE incident_events ADD COLUMN tenant TEXT;
ALTER TABLE incident_events ADD COLUMN environment TEXT;
ALTER TABLE incident_events ADD COLUMN service VARCHAR(255);
ALTER TABLE incident_events ADD COLUMN severity TEXT;
-- Of fact `opened`: from the start of its first member to when Aegis saw it, in milliseconds.
ALTER TABLE incident_events ADD COLUMN detect_ms BIGINT;
-- From the incident's created_at to the fact, in milliseconds.
ALTER TABLE incident_events ADD COLUMN open_ms BIGINT;

-- From the payload. A time beyond year 9999 is none that PostgreSQL reads: its row stays without the duration.
UPDATE incident_events SET
    tenant = payload -> 'incident' ->> 'tenant',
    environment = payload -> 'incident' ->> 'environment',
    service = left(payload -> 'incident' ->> 'service', 255),
    severity = payload -> 'incident' ->> 'severity',
    detect_ms = CASE WHEN fact = 'opened' AND payload -> 'fact' -> 'member' ->> 'starts_at' ~ '^[0-9]{4}-' THEN
        GREATEST(0, floor(EXTRACT(EPOCH FROM observed_at - (payload -> 'fact' -> 'member' ->> 'starts_at')::timestamptz) * 1000))::bigint END,
    open_ms = CASE WHEN payload -> 'incident' ->> 'created_at' ~ '^[0-9]{4}-' THEN
        GREATEST(0, floor(EXTRACT(EPOCH FROM at - (payload -> 'incident' ->> 'created_at')::timestamptz) * 1000))::bigint END;

CREATE INDEX incident_events_by_time ON incident_events (at);
CREATE INDEX remediations_by_time ON remediations (created_at);

CREATE VIEW alerts AS SELECT * FROM signals WHERE kind = 'alert';
CREATE VIEW changes AS SELECT * FROM signals WHERE kind = 'change';
CREATE VIEW executions AS SELECT * FROM agent_executions;
