-- Counts by minute, hour and day (UTC), so that a year can be shown without counting a year of rows. The sink adds to them in the
-- transaction that writes the rows; `sinks::sql::rollups` says how.
--
-- With TimescaleDB these tables give way to continuous aggregates of the same names and columns (`sinks::sql::timescale`), at every
-- start. This file is run once more where one of them is missing, as after the extension was dropped: it must stay repeatable.
--
-- The keys are hashed because a B-tree takes no key of more than 2,704 bytes, and senders choose these texts. Lengths keep
-- ('a', 'bc') apart from ('ab', 'c').

CREATE TABLE IF NOT EXISTS signals_by_minute (
    bucket      TIMESTAMPTZ NOT NULL,
    tenant      TEXT NOT NULL,
    environment TEXT NOT NULL,
    source      TEXT NOT NULL,
    kind        TEXT NOT NULL,
    severity    TEXT NOT NULL,
    service     VARCHAR(255),
    signals     BIGINT NOT NULL,
    firing      BIGINT NOT NULL
);
CREATE UNIQUE INDEX IF NOT EXISTS signals_by_minute_key ON signals_by_minute (bucket, hashtextextended(length(tenant)::text || ':' || tenant || length(environment)::text || ':' || environment || length(source)::text || ':' || source || length(kind)::text || ':' || kind || length(severity)::text || ':' || severity || CASE WHEN service IS NULL THEN '-' ELSE length(service)::text || ':' || service END, 0),
    hashtextextended(length(tenant)::text || ':' || tenant || length(environment)::text || ':' || environment || length(source)::text || ':' || source || length(kind)::text || ':' || kind || length(severity)::text || ':' || severity || CASE WHEN service IS NULL THEN '-' ELSE length(service)::text || ':' || service END, 1));
INSERT INTO signals_by_minute (bucket, tenant, environment, source, kind, severity, service, signals, firing)
    SELECT date_trunc('minute', event_at AT TIME ZONE 'UTC') AT TIME ZONE 'UTC', tenant, environment, source, kind, severity, service,
        count(*) AS signals, count(*) FILTER (WHERE state = 'firing') AS firing
    FROM signals GROUP BY 1, 2, 3, 4, 5, 6, 7
    ON CONFLICT DO NOTHING;

CREATE TABLE IF NOT EXISTS signals_by_hour (
    bucket      TIMESTAMPTZ NOT NULL,
    tenant      TEXT NOT NULL,
    environment TEXT NOT NULL,
    source      TEXT NOT NULL,
    kind        TEXT NOT NULL,
    severity    TEXT NOT NULL,
    service     VARCHAR(255),
    signals     BIGINT NOT NULL,
    firing      BIGINT NOT NULL
);
CREATE UNIQUE INDEX IF NOT EXISTS signals_by_hour_key ON signals_by_hour (bucket, hashtextextended(length(tenant)::text || ':' || tenant || length(environment)::text || ':' || environment || length(source)::text || ':' || source || length(kind)::text || ':' || kind || length(severity)::text || ':' || severity || CASE WHEN service IS NULL THEN '-' ELSE length(service)::text || ':' || service END, 0),
    hashtextextended(length(tenant)::text || ':' || tenant || length(environment)::text || ':' || environment || length(source)::text || ':' || source || length(kind)::text || ':' || kind || length(severity)::text || ':' || severity || CASE WHEN service IS NULL THEN '-' ELSE length(service)::text || ':' || service END, 1));
INSERT INTO signals_by_hour (bucket, tenant, environment, source, kind, severity, service, signals, firing)
    SELECT date_trunc('hour', event_at AT TIME ZONE 'UTC') AT TIME ZONE 'UTC', tenant, environment, source, kind, severity, service,
        count(*) AS signals, count(*) FILTER (WHERE state = 'firing') AS firing
    FROM signals GROUP BY 1, 2, 3, 4, 5, 6, 7
    ON CONFLICT DO NOTHING;

CREATE TABLE IF NOT EXISTS signals_by_day (
    bucket      TIMESTAMPTZ NOT NULL,
    tenant      TEXT NOT NULL,
    environment TEXT NOT NULL,
    source      TEXT NOT NULL,
    kind        TEXT NOT NULL,
    severity    TEXT NOT NULL,
    service     VARCHAR(255),
    signals     BIGINT NOT NULL,
    firing      BIGINT NOT NULL
);
CREATE UNIQUE INDEX IF NOT EXISTS signals_by_day_key ON signals_by_day (bucket, hashtextextended(length(tenant)::text || ':' || tenant || length(environment)::text || ':' || environment || length(source)::text || ':' || source || length(kind)::text || ':' || kind || length(severity)::text || ':' || severity || CASE WHEN service IS NULL THEN '-' ELSE length(service)::text || ':' || service END, 0),
    hashtextextended(length(tenant)::text || ':' || tenant || length(environment)::text || ':' || environment || length(source)::text || ':' || source || length(kind)::text || ':' || kind || length(severity)::text || ':' || severity || CASE WHEN service IS NULL THEN '-' ELSE length(service)::text || ':' || service END, 1));
INSERT INTO signals_by_day (bucket, tenant, environment, source, kind, severity, service, signals, firing)
    SELECT date_trunc('day', event_at AT TIME ZONE 'UTC') AT TIME ZONE 'UTC', tenant, environment, source, kind, severity, service,
        count(*) AS signals, count(*) FILTER (WHERE state = 'firing') AS firing
    FROM signals GROUP BY 1, 2, 3, 4, 5, 6, 7
    ON CONFLICT DO NOTHING;

CREATE TABLE IF NOT EXISTS incident_events_by_minute (
    bucket      TIMESTAMPTZ NOT NULL,
    tenant      TEXT,
    environment TEXT,
    service     VARCHAR(255),
    severity    TEXT,
    fact        TEXT NOT NULL,
    events      BIGINT NOT NULL,
    detect_ms   BIGINT NOT NULL,
    open_ms     BIGINT NOT NULL
);
CREATE UNIQUE INDEX IF NOT EXISTS incident_events_by_minute_key ON incident_events_by_minute (bucket, hashtextextended(CASE WHEN tenant IS NULL THEN '-' ELSE length(tenant)::text || ':' || tenant END || CASE WHEN environment IS NULL THEN '-' ELSE length(environment)::text || ':' || environment END || CASE WHEN service IS NULL THEN '-' ELSE length(service)::text || ':' || service END || CASE WHEN severity IS NULL THEN '-' ELSE length(severity)::text || ':' || severity END || length(fact)::text || ':' || fact, 0),
    hashtextextended(CASE WHEN tenant IS NULL THEN '-' ELSE length(tenant)::text || ':' || tenant END || CASE WHEN environment IS NULL THEN '-' ELSE length(environment)::text || ':' || environment END || CASE WHEN service IS NULL THEN '-' ELSE length(service)::text || ':' || service END || CASE WHEN severity IS NULL THEN '-' ELSE length(severity)::text || ':' || severity END || length(fact)::text || ':' || fact, 1));
INSERT INTO incident_events_by_minute (bucket, tenant, environment, service, severity, fact, events, detect_ms, open_ms)
    SELECT date_trunc('minute', at AT TIME ZONE 'UTC') AT TIME ZONE 'UTC', tenant, environment, service, severity, fact,
        count(*) AS events, CAST(COALESCE(sum(detect_ms), 0) AS BIGINT) AS detect_ms, CAST(COALESCE(sum(open_ms), 0) AS BIGINT) AS open_ms
    FROM incident_events GROUP BY 1, 2, 3, 4, 5, 6
    ON CONFLICT DO NOTHING;

CREATE TABLE IF NOT EXISTS incident_events_by_hour (
    bucket      TIMESTAMPTZ NOT NULL,
    tenant      TEXT,
    environment TEXT,
    service     VARCHAR(255),
    severity    TEXT,
    fact        TEXT NOT NULL,
    events      BIGINT NOT NULL,
    detect_ms   BIGINT NOT NULL,
    open_ms     BIGINT NOT NULL
);
CREATE UNIQUE INDEX IF NOT EXISTS incident_events_by_hour_key ON incident_events_by_hour (bucket, hashtextextended(CASE WHEN tenant IS NULL THEN '-' ELSE length(tenant)::text || ':' || tenant END || CASE WHEN environment IS NULL THEN '-' ELSE length(environment)::text || ':' || environment END || CASE WHEN service IS NULL THEN '-' ELSE length(service)::text || ':' || service END || CASE WHEN severity IS NULL THEN '-' ELSE length(severity)::text || ':' || severity END || length(fact)::text || ':' || fact, 0),
    hashtextextended(CASE WHEN tenant IS NULL THEN '-' ELSE length(tenant)::text || ':' || tenant END || CASE WHEN environment IS NULL THEN '-' ELSE length(environment)::text || ':' || environment END || CASE WHEN service IS NULL THEN '-' ELSE length(service)::text || ':' || service END || CASE WHEN severity IS NULL THEN '-' ELSE length(severity)::text || ':' || severity END || length(fact)::text || ':' || fact, 1));
INSERT INTO incident_events_by_hour (bucket, tenant, environment, service, severity, fact, events, detect_ms, open_ms)
    SELECT date_trunc('hour', at AT TIME ZONE 'UTC') AT TIME ZONE 'UTC', tenant, environment, service, severity, fact,
        count(*) AS events, CAST(COALESCE(sum(detect_ms), 0) AS BIGINT) AS detect_ms, CAST(COALESCE(sum(open_ms), 0) AS BIGINT) AS open_ms
    FROM incident_events GROUP BY 1, 2, 3, 4, 5, 6
    ON CONFLICT DO NOTHING;

CREATE TABLE IF NOT EXISTS incident_events_by_day (
    bucket      TIMESTAMPTZ NOT NULL,
    tenant      TEXT,
    environment TEXT,
    service     VARCHAR(255),
    severity    TEXT,
    fact        TEXT NOT NULL,
    events      BIGINT NOT NULL,
    detect_ms   BIGINT NOT NULL,
    open_ms     BIGINT NOT NULL
);
CREATE UNIQUE INDEX IF NOT EXISTS incident_events_by_day_key ON incident_events_by_day (bucket, hashtextextended(CASE WHEN tenant IS NULL THEN '-' ELSE length(tenant)::text || ':' || tenant END || CASE WHEN environment IS NULL THEN '-' ELSE length(environment)::text || ':' || environment END || CASE WHEN service IS NULL THEN '-' ELSE length(service)::text || ':' || service END || CASE WHEN severity IS NULL THEN '-' ELSE length(severity)::text || ':' || severity END || length(fact)::text || ':' || fact, 0),
    hashtextextended(CASE WHEN tenant IS NULL THEN '-' ELSE length(tenant)::text || ':' || tenant END || CASE WHEN environment IS NULL THEN '-' ELSE length(environment)::text || ':' || environment END || CASE WHEN service IS NULL THEN '-' ELSE length(service)::text || ':' || service END || CASE WHEN severity IS NULL THEN '-' ELSE length(severity)::text || ':' || severity END || length(fact)::text || ':' || fact, 1));
INSERT INTO incident_events_by_day (bucket, tenant, environment, service, severity, fact, events, detect_ms, open_ms)
    SELECT date_trunc('day', at AT TIME ZONE 'UTC') AT TIME ZONE 'UTC', tenant, environment, service, severity, fact,
        count(*) AS events, CAST(COALESCE(sum(detect_ms), 0) AS BIGINT) AS detect_ms, CAST(COALESCE(sum(open_ms), 0) AS BIGINT) AS open_ms
    FROM incident_events GROUP BY 1, 2, 3, 4, 5, 6
    ON CONFLICT DO NOTHING;

CREATE TABLE IF NOT EXISTS executions_by_minute (
    bucket      TIMESTAMPTZ NOT NULL,
    agent_name  VARCHAR(100) NOT NULL,
    status      VARCHAR(20) NOT NULL,
    runs        BIGINT NOT NULL,
    tokens      BIGINT NOT NULL,
    duration_ms BIGINT NOT NULL
);
CREATE UNIQUE INDEX IF NOT EXISTS executions_by_minute_key ON executions_by_minute (bucket, hashtextextended(length(agent_name)::text || ':' || agent_name || length(status)::text || ':' || status, 0),
    hashtextextended(length(agent_name)::text || ':' || agent_name || length(status)::text || ':' || status, 1));
INSERT INTO executions_by_minute (bucket, agent_name, status, runs, tokens, duration_ms)
    SELECT date_trunc('minute', created_at AT TIME ZONE 'UTC') AT TIME ZONE 'UTC', agent_name, status,
        count(*) AS runs, CAST(COALESCE(sum(tokens_used), 0) AS BIGINT) AS tokens, CAST(COALESCE(sum(duration_ms), 0) AS BIGINT) AS duration_ms
    FROM agent_executions GROUP BY 1, 2, 3
    ON CONFLICT DO NOTHING;

CREATE TABLE IF NOT EXISTS executions_by_hour (
    bucket      TIMESTAMPTZ NOT NULL,
    agent_name  VARCHAR(100) NOT NULL,
    status      VARCHAR(20) NOT NULL,
    runs        BIGINT NOT NULL,
    tokens      BIGINT NOT NULL,
    duration_ms BIGINT NOT NULL
);
CREATE UNIQUE INDEX IF NOT EXISTS executions_by_hour_key ON executions_by_hour (bucket, hashtextextended(length(agent_name)::text || ':' || agent_name || length(status)::text || ':' || status, 0),
    hashtextextended(length(agent_name)::text || ':' || agent_name || length(status)::text || ':' || status, 1));
INSERT INTO executions_by_hour (bucket, agent_name, status, runs, tokens, duration_ms)
    SELECT date_trunc('hour', created_at AT TIME ZONE 'UTC') AT TIME ZONE 'UTC', agent_name, status,
        count(*) AS runs, CAST(COALESCE(sum(tokens_used), 0) AS BIGINT) AS tokens, CAST(COALESCE(sum(duration_ms), 0) AS BIGINT) AS duration_ms
    FROM agent_executions GROUP BY 1, 2, 3
    ON CONFLICT DO NOTHING;

CREATE TABLE IF NOT EXISTS executions_by_day (
    bucket      TIMESTAMPTZ NOT NULL,
    agent_name  VARCHAR(100) NOT NULL,
    status      VARCHAR(20) NOT NULL,
    runs        BIGINT NOT NULL,
    tokens      BIGINT NOT NULL,
    duration_ms BIGINT NOT NULL
);
CREATE UNIQUE INDEX IF NOT EXISTS executions_by_day_key ON executions_by_day (bucket, hashtextextended(length(agent_name)::text || ':' || agent_name || length(status)::text || ':' || status, 0),
    hashtextextended(length(agent_name)::text || ':' || agent_name || length(status)::text || ':' || status, 1));
INSERT INTO executions_by_day (bucket, agent_name, status, runs, tokens, duration_ms)
    SELECT date_trunc('day', created_at AT TIME ZONE 'UTC') AT TIME ZONE 'UTC', agent_name, status,
        count(*) AS runs, CAST(COALESCE(sum(tokens_used), 0) AS BIGINT) AS tokens, CAST(COALESCE(sum(duration_ms), 0) AS BIGINT) AS duration_ms
    FROM agent_executions GROUP BY 1, 2, 3
    ON CONFLICT DO NOTHING;

CREATE TABLE IF NOT EXISTS remediations_by_minute (
    bucket       TIMESTAMPTZ NOT NULL,
    action_type  VARCHAR(50) NOT NULL,
    namespace    VARCHAR(100),
    status       VARCHAR(20) NOT NULL,
    remediations BIGINT NOT NULL
);
CREATE UNIQUE INDEX IF NOT EXISTS remediations_by_minute_key ON remediations_by_minute (bucket, hashtextextended(length(action_type)::text || ':' || action_type || CASE WHEN namespace IS NULL THEN '-' ELSE length(namespace)::text || ':' || namespace END || length(status)::text || ':' || status, 0),
    hashtextextended(length(action_type)::text || ':' || action_type || CASE WHEN namespace IS NULL THEN '-' ELSE length(namespace)::text || ':' || namespace END || length(status)::text || ':' || status, 1));
INSERT INTO remediations_by_minute (bucket, action_type, namespace, status, remediations)
    SELECT date_trunc('minute', created_at AT TIME ZONE 'UTC') AT TIME ZONE 'UTC', action_type, namespace, status,
        count(*) AS remediations
    FROM remediations GROUP BY 1, 2, 3, 4
    ON CONFLICT DO NOTHING;

CREATE TABLE IF NOT EXISTS remediations_by_hour (
    bucket       TIMESTAMPTZ NOT NULL,
    action_type  VARCHAR(50) NOT NULL,
    namespace    VARCHAR(100),
    status       VARCHAR(20) NOT NULL,
    remediations BIGINT NOT NULL
);
CREATE UNIQUE INDEX IF NOT EXISTS remediations_by_hour_key ON remediations_by_hour (bucket, hashtextextended(length(action_type)::text || ':' || action_type || CASE WHEN namespace IS NULL THEN '-' ELSE length(namespace)::text || ':' || namespace END || length(status)::text || ':' || status, 0),
    hashtextextended(length(action_type)::text || ':' || action_type || CASE WHEN namespace IS NULL THEN '-' ELSE length(namespace)::text || ':' || namespace END || length(status)::text || ':' || status, 1));
INSERT INTO remediations_by_hour (bucket, action_type, namespace, status, remediations)
    SELECT date_trunc('hour', created_at AT TIME ZONE 'UTC') AT TIME ZONE 'UTC', action_type, namespace, status,
        count(*) AS remediations
    FROM remediations GROUP BY 1, 2, 3, 4
    ON CONFLICT DO NOTHING;

CREATE TABLE IF NOT EXISTS remediations_by_day (
    bucket       TIMESTAMPTZ NOT NULL,
    action_type  VARCHAR(50) NOT NULL,
    namespace    VARCHAR(100),
    status       VARCHAR(20) NOT NULL,
    remediations BIGINT NOT NULL
);
CREATE UNIQUE INDEX IF NOT EXISTS remediations_by_day_key ON remediations_by_day (bucket, hashtextextended(length(action_type)::text || ':' || action_type || CASE WHEN namespace IS NULL THEN '-' ELSE length(namespace)::text || ':' || namespace END || length(status)::text || ':' || status, 0),
    hashtextextended(length(action_type)::text || ':' || action_type || CASE WHEN namespace IS NULL THEN '-' ELSE length(namespace)::text || ':' || namespace END || length(status)::text || ':' || status, 1));
INSERT INTO remediations_by_day (bucket, action_type, namespace, status, remediations)
    SELECT date_trunc('day', created_at AT TIME ZONE 'UTC') AT TIME ZONE 'UTC', action_type, namespace, status,
        count(*) AS remediations
    FROM remediations GROUP BY 1, 2, 3, 4
    ON CONFLICT DO NOTHING;

CREATE TABLE IF NOT EXISTS pipeline_metrics_by_minute (
    bucket        TIMESTAMPTZ NOT NULL,
    stage         TEXT NOT NULL,
    commits       BIGINT NOT NULL,
    bodies        BIGINT NOT NULL,
    items         BIGINT NOT NULL,
    forwarded     BIGINT NOT NULL,
    merged        BIGINT NOT NULL,
    suppressed    BIGINT NOT NULL,
    late          BIGINT NOT NULL,
    dead_lettered BIGINT NOT NULL,
    produced      BIGINT NOT NULL
);
CREATE UNIQUE INDEX IF NOT EXISTS pipeline_metrics_by_minute_key ON pipeline_metrics_by_minute (bucket, hashtextextended(length(stage)::text || ':' || stage, 0),
    hashtextextended(length(stage)::text || ':' || stage, 1));
INSERT INTO pipeline_metrics_by_minute (bucket, stage, commits, bodies, items, forwarded, merged, suppressed, late, dead_lettered, produced)
    SELECT date_trunc('minute', at AT TIME ZONE 'UTC') AT TIME ZONE 'UTC', stage,
        CAST(COALESCE(sum(commits), 0) AS BIGINT) AS commits, CAST(COALESCE(sum(bodies), 0) AS BIGINT) AS bodies, CAST(COALESCE(sum(items), 0) AS BIGINT) AS items, CAST(COALESCE(sum(forwarded), 0) AS BIGINT) AS forwarded, CAST(COALESCE(sum(merged), 0) AS BIGINT) AS merged, CAST(COALESCE(sum(suppressed), 0) AS BIGINT) AS suppressed, CAST(COALESCE(sum(late), 0) AS BIGINT) AS late, CAST(COALESCE(sum(dead_lettered), 0) AS BIGINT) AS dead_lettered, CAST(COALESCE(sum(produced), 0) AS BIGINT) AS produced
    FROM pipeline_metrics GROUP BY 1, 2
    ON CONFLICT DO NOTHING;

CREATE TABLE IF NOT EXISTS pipeline_metrics_by_hour (
    bucket        TIMESTAMPTZ NOT NULL,
    stage         TEXT NOT NULL,
    commits       BIGINT NOT NULL,
    bodies        BIGINT NOT NULL,
    items         BIGINT NOT NULL,
    forwarded     BIGINT NOT NULL,
    merged        BIGINT NOT NULL,
    suppressed    BIGINT NOT NULL,
    late          BIGINT NOT NULL,
    dead_lettered BIGINT NOT NULL,
    produced      BIGINT NOT NULL
);
CREATE UNIQUE INDEX IF NOT EXISTS pipeline_metrics_by_hour_key ON pipeline_metrics_by_hour (bucket, hashtextextended(length(stage)::text || ':' || stage, 0),
    hashtextextended(length(stage)::text || ':' || stage, 1));
INSERT INTO pipeline_metrics_by_hour (bucket, stage, commits, bodies, items, forwarded, merged, suppressed, late, dead_lettered, produced)
    SELECT date_trunc('hour', at AT TIME ZONE 'UTC') AT TIME ZONE 'UTC', stage,
        CAST(COALESCE(sum(commits), 0) AS BIGINT) AS commits, CAST(COALESCE(sum(bodies), 0) AS BIGINT) AS bodies, CAST(COALESCE(sum(items), 0) AS BIGINT) AS items, CAST(COALESCE(sum(forwarded), 0) AS BIGINT) AS forwarded, CAST(COALESCE(sum(merged), 0) AS BIGINT) AS merged, CAST(COALESCE(sum(suppressed), 0) AS BIGINT) AS suppressed, CAST(COALESCE(sum(late), 0) AS BIGINT) AS late, CAST(COALESCE(sum(dead_lettered), 0) AS BIGINT) AS dead_lettered, CAST(COALESCE(sum(produced), 0) AS BIGINT) AS produced
    FROM pipeline_metrics GROUP BY 1, 2
    ON CONFLICT DO NOTHING;

CREATE TABLE IF NOT EXISTS pipeline_metrics_by_day (
    bucket        TIMESTAMPTZ NOT NULL,
    stage         TEXT NOT NULL,
    commits       BIGINT NOT NULL,
    bodies        BIGINT NOT NULL,
    items         BIGINT NOT NULL,
    forwarded     BIGINT NOT NULL,
    merged        BIGINT NOT NULL,
    suppressed    BIGINT NOT NULL,
    late          BIGINT NOT NULL,
    dead_lettered BIGINT NOT NULL,
    produced      BIGINT NOT NULL
);
CREATE UNIQUE INDEX IF NOT EXISTS pipeline_metrics_by_day_key ON pipeline_metrics_by_day (bucket, hashtextextended(length(stage)::text || ':' || stage, 0),
    hashtextextended(length(stage)::text || ':' || stage, 1));
INSERT INTO pipeline_metrics_by_day (bucket, stage, commits, bodies, items, forwarded, merged, suppressed, late, dead_lettered, produced)
    SELECT date_trunc('day', at AT TIME ZONE 'UTC') AT TIME ZONE 'UTC', stage,
        CAST(COALESCE(sum(commits), 0) AS BIGINT) AS commits, CAST(COALESCE(sum(bodies), 0) AS BIGINT) AS bodies, CAST(COALESCE(sum(items), 0) AS BIGINT) AS items, CAST(COALESCE(sum(forwarded), 0) AS BIGINT) AS forwarded, CAST(COALESCE(sum(merged), 0) AS BIGINT) AS merged, CAST(COALESCE(sum(suppressed), 0) AS BIGINT) AS suppressed, CAST(COALESCE(sum(late), 0) AS BIGINT) AS late, CAST(COALESCE(sum(dead_lettered), 0) AS BIGINT) AS dead_lettered, CAST(COALESCE(sum(produced), 0) AS BIGINT) AS produced
    FROM pipeline_metrics GROUP BY 1, 2
    ON CONFLICT DO NOTHING;
