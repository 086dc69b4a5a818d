-- The tables of Aegis on PostgreSQL, with or without TimescaleDB. The SQLite twin is ../sqlite/0001_schema.up.sql.
--
-- All rows but agent_executions and remediations are a projection of the log and can be rebuilt from it.
-- With TimescaleDB installed in the database, `signals` becomes a hypertable on event_at after the migrations
-- (`sinks::sql::postgres`), at every start, so that the extension may also be installed later.

CREATE TABLE incidents (
    id            UUID PRIMARY KEY,
    alert_id      VARCHAR(255) NOT NULL,
    source        VARCHAR(50) NOT NULL,
    severity      VARCHAR(20) NOT NULL CHECK (severity IN ('critical', 'warning', 'info')),
    status        VARCHAR(30) NOT NULL CHECK (status IN ('open', 'investigating', 'resolved')),
    title         TEXT NOT NULL,
    service       VARCHAR(255),
    root_cause    TEXT,
    resolution    TEXT,
    auto_resolved BOOLEAN NOT NULL DEFAULT FALSE,
    resolved_by   VARCHAR(255),
    created_at    TIMESTAMPTZ NOT NULL,
    resolved_at   TIMESTAMPTZ,
    metadata      JSONB NOT NULL DEFAULT '{}',
    -- Beyond the published columns:
    canonical_key UUID NOT NULL,
    revision      BIGINT NOT NULL,
    tenant        TEXT NOT NULL,
    environment   TEXT NOT NULL,
    merged_into   UUID,
    updated_at    TIMESTAMPTZ NOT NULL,
    members       BIGINT NOT NULL,
    firing        BIGINT NOT NULL
);
CREATE INDEX incidents_by_time ON incidents (created_at);
CREATE INDEX incidents_by_status ON incidents (status, created_at);
CREATE INDEX incidents_by_service ON incidents (service, created_at);
CREATE INDEX incidents_by_canonical_key ON incidents (canonical_key);

CREATE TABLE agent_executions (
    id          UUID PRIMARY KEY,
    incident_id UUID NOT NULL REFERENCES incidents (id),
    agent_name  VARCHAR(100) NOT NULL,
    input_data  JSONB,
    output_data JSONB,
    tool_calls  JSONB,
    tokens_used INTEGER,
    duration_ms INTEGER,
    status      VARCHAR(20) NOT NULL CHECK (status IN ('success', 'failed', 'timeout')),
    created_at  TIMESTAMPTZ NOT NULL
);
CREATE INDEX agent_executions_by_incident ON agent_executions (incident_id, created_at);

CREATE TABLE remediations (
    id           UUID PRIMARY KEY,
    incident_id  UUID NOT NULL REFERENCES incidents (id),
    action_type  VARCHAR(50) NOT NULL,
    target       VARCHAR(255) NOT NULL,
    namespace    VARCHAR(100),
    status       VARCHAR(20) NOT NULL,
    before_state JSONB,
    after_state  JSONB,
    created_at   TIMESTAMPTZ NOT NULL
);
CREATE INDEX remediations_by_incident ON remediations (incident_id, created_at);

-- One row per fact: the history whose fold is the row in incidents.
CREATE TABLE incident_events (
    incident_id UUID NOT NULL REFERENCES incidents (id),
    revision    BIGINT NOT NULL,
    at          TIMESTAMPTZ NOT NULL,
    observed_at TIMESTAMPTZ NOT NULL,
    fact        TEXT NOT NULL,
    payload     JSONB NOT NULL,
    PRIMARY KEY (incident_id, revision)
);

-- Members as they stand. A merged incident has none: they moved to the survivor; the history stays in incident_events.
CREATE TABLE incident_members (
    incident_id UUID NOT NULL REFERENCES incidents (id),
    episode     UUID NOT NULL,
    signal_id   UUID NOT NULL,
    dedup_key   TEXT NOT NULL,
    source      TEXT NOT NULL,
    title       TEXT NOT NULL,
    severity    TEXT NOT NULL,
    service     TEXT,
    starts_at   TIMESTAMPTZ NOT NULL,
    ends_at     TIMESTAMPTZ,
    rule        TEXT NOT NULL,
    link_key    TEXT,
    linked_to   UUID,
    apart_ms    BIGINT,
    -- The incident's revision that wrote the row.
    revision    BIGINT NOT NULL,
    PRIMARY KEY (incident_id, episode)
);
CREATE INDEX incident_members_by_episode ON incident_members (episode);

-- Every signal, repeats included. log_partition and log_offset say which record of topic `signals` held it.
CREATE TABLE signals (
    event_at      TIMESTAMPTZ NOT NULL,
    raw_partition BIGINT NOT NULL,
    raw_offset    BIGINT NOT NULL,
    raw_index     BIGINT NOT NULL,
    id            UUID NOT NULL,
    tenant        TEXT NOT NULL,
    environment   TEXT NOT NULL,
    source        TEXT NOT NULL,
    kind          TEXT NOT NULL,
    state         TEXT NOT NULL,
    dedup_key     TEXT NOT NULL,
    dedup_rule    TEXT NOT NULL,
    observed_at   TIMESTAMPTZ NOT NULL,
    effective_at  TIMESTAMPTZ NOT NULL,
    ends_at       TIMESTAMPTZ,
    severity      TEXT NOT NULL,
    title         TEXT NOT NULL,
    description   TEXT,
    service       VARCHAR(255),
    cluster       TEXT,
    namespace     TEXT,
    alert_group   TEXT,
    labels        JSONB NOT NULL,
    annotations   JSONB NOT NULL,
    extra         JSONB,
    log_partition BIGINT NOT NULL,
    log_offset    BIGINT NOT NULL,
    PRIMARY KEY (event_at, raw_partition, raw_offset, raw_index)
);
CREATE INDEX signals_by_service ON signals (service, event_at);

-- What was refused, with its bytes. log_partition and log_offset are its place in topic `dead-letter`.
CREATE TABLE dead_letters (
    log_partition    BIGINT NOT NULL,
    log_offset       BIGINT NOT NULL,
    stage            TEXT NOT NULL,
    reason           TEXT NOT NULL,
    detail           TEXT NOT NULL,
    field            TEXT,
    source_topic     TEXT NOT NULL,
    source_partition BIGINT NOT NULL,
    source_offset    BIGINT NOT NULL,
    item             BIGINT,
    received_at      TIMESTAMPTZ NOT NULL,
    attempt          BIGINT NOT NULL,
    headers          JSONB NOT NULL,
    body_base64      TEXT NOT NULL,
    PRIMARY KEY (log_partition, log_offset)
);

CREATE TABLE notifications (
    id          UUID PRIMARY KEY,
    incident_id UUID NOT NULL,
    revision    BIGINT NOT NULL,
    event       TEXT NOT NULL,
    severity    TEXT NOT NULL,
    status      TEXT NOT NULL,
    title       TEXT NOT NULL,
    service     TEXT,
    at          TIMESTAMPTZ NOT NULL
);
CREATE INDEX notifications_by_incident ON notifications (incident_id, revision);

-- Where each sink stands in each partition: moved in the transaction that writes the rows.
CREATE TABLE sink_positions (
    sink        TEXT NOT NULL,
    log_id      TEXT NOT NULL,
    topic       TEXT NOT NULL,
    partition   BIGINT NOT NULL,
    next        BIGINT NOT NULL,
    -- Rises each time another owner takes the partition: for people who look for ownership that flaps.
    owner_epoch BIGINT NOT NULL,
    PRIMARY KEY (sink, topic, partition)
);
