-- Counts by minute, hour and day (UTC), so that a year can be shown without counting a year of rows. The sink adds to them in the
-- transaction that writes the rows; `sinks::sql::rollups` says how.

CREATE TABLE signals_by_minute (
    bucket      TEXT NOT NULL,
    tenant      TEXT NOT NULL,
    environment TEXT NOT NULL,
    source      TEXT NOT NULL,
    kind        TEXT NOT NULL,
    severity    TEXT NOT NULL,
    service     VARCHAR(255),
    signals     BIGINT NOT NULL,
    firing      BIGINT NOT NULL
);
CREATE UNIQUE INDEX signals_by_minute_key ON signals_by_minute (bucket, tenant, environment, source, kind, severity, COALESCE(service, ''), (service IS NULL));
INSERT INTO signals_by_minute (bucket, tenant, environment, source, kind, severity, service, signals, firing)
    SELECT substr(event_at, 1, 16) || ':00.000000Z', tenant, environment, source, kind, severity, service,
        count(*) AS signals, count(*) FILTER (WHERE state = 'firing') AS firing
    FROM signals GROUP BY 1, 2, 3, 4, 5, 6, 7;

CREATE TABLE signals_by_hour (
    bucket      TEXT NOT NULL,
    tenant      TEXT NOT NULL,
    environment TEXT NOT NULL,
    source      TEXT NOT NULL,
    kind        TEXT NOT NULL,
    severity    TEXT NOT NULL,
    service     VARCHAR(255),
    signals     BIGINT NOT NULL,
    firing      BIGINT NOT NULL
);
CREATE UNIQUE INDEX signals_by_hour_key ON signals_by_hour (bucket, tenant, environment, source, kind, severity, COALESCE(service, ''), (service IS NULL));
INSERT INTO signals_by_hour (bucket, tenant, environment, source, kind, severity, service, signals, firing)
    SELECT substr(event_at, 1, 13) || ':00:00.000000Z', tenant, environment, source, kind, severity, service,
        count(*) AS signals, count(*) FILTER (WHERE state = 'firing') AS firing
    FROM signals GROUP BY 1, 2, 3, 4, 5, 6, 7;

CREATE TABLE signals_by_day (
    bucket      TEXT NOT NULL,
    tenant      TEXT NOT NULL,
    environment TEXT NOT NULL,
    source      TEXT NOT NULL,
    kind        TEXT NOT NULL,
    severity    TEXT NOT NULL,
    service     VARCHAR(255),
    signals     BIGINT NOT NULL,
    firing      BIGINT NOT NULL
);
CREATE UNIQUE INDEX signals_by_day_key ON signals_by_day (bucket, tenant, environment, source, kind, severity, COALESCE(service, ''), (service IS NULL));
INSERT INTO signals_by_day (bucket, tenant, environment, source, kind, severity, service, signals, firing)
    SELECT substr(event_at, 1, 10) || 'T00:00:00.000000Z', tenant, environment, source, kind, severity, service,
        count(*) AS signals, count(*) FILTER (WHERE state = 'firing') AS firing
    FROM signals GROUP BY 1, 2, 3, 4, 5, 6, 7;

CREATE TABLE incident_events_by_minute (
    bucket      TEXT NOT NULL,
    tenant      TEXT,
    environment TEXT,
    service     VARCHAR(255),
    severity    TEXT,
    fact        TEXT NOT NULL,
    events      BIGINT NOT NULL,
    detect_ms   BIGINT NOT NULL,
    open_ms     BIGINT NOT NULL
);
CREATE UNIQUE INDEX incident_events_by_minute_key ON incident_events_by_minute (bucket, COALESCE(tenant, ''), COALESCE(environment, ''), COALESCE(service, ''), COALESCE(severity, ''), fact, (tenant IS NULL), (environment IS NULL), (service IS NULL), (severity IS NULL));
INSERT INTO incident_events_by_minute (bucket, tenant, environment, service, severity, fact, events, detect_ms, open_ms)
    SELECT substr(at, 1, 16) || ':00.000000Z', tenant, environment, service, severity, fact,
        count(*) AS events, CAST(COALESCE(sum(detect_ms), 0) AS BIGINT) AS detect_ms, CAST(COALESCE(sum(open_ms), 0) AS BIGINT) AS open_ms
    FROM incident_events GROUP BY 1, 2, 3, 4, 5, 6;

CREATE TABLE incident_events_by_hour (
    bucket      TEXT NOT NULL,
    tenant      TEXT,
    environment TEXT,
    service     VARCHAR(255),
    severity    TEXT,
    fact        TEXT NOT NULL,
    events      BIGINT NOT NULL,
    detect_ms   BIGINT NOT NULL,
    open_ms     BIGINT NOT NULL
);
CREATE UNIQUE INDEX incident_events_by_hour_key ON incident_events_by_hour (bucket, COALESCE(tenant, ''), COALESCE(environment, ''), COALESCE(service, ''), COALESCE(severity, ''), fact, (tenant IS NULL), (environment IS NULL), (service IS NULL), (severity IS NULL));
INSERT INTO incident_events_by_hour (bucket, tenant, environment, service, severity, fact, events, detect_ms, open_ms)
    SELECT substr(at, 1, 13) || ':00:00.000000Z', tenant, environment, service, severity, fact,
        count(*) AS events, CAST(COALESCE(sum(detect_ms), 0) AS BIGINT) AS detect_ms, CAST(COALESCE(sum(open_ms), 0) AS BIGINT) AS open_ms
    FROM incident_events GROUP BY 1, 2, 3, 4, 5, 6;

CREATE TABLE incident_events_by_day (
    bucket      TEXT NOT NULL,
    tenant      TEXT,
    environment TEXT,
    service     VARCHAR(255),
    severity    TEXT,
    fact        TEXT NOT NULL,
    events      BIGINT NOT NULL,
    detect_ms   BIGINT NOT NULL,
    open_ms     BIGINT NOT NULL
);
CREATE UNIQUE INDEX incident_events_by_day_key ON incident_events_by_day (bucket, COALESCE(tenant, ''), COALESCE(environment, ''), COALESCE(service, ''), COALESCE(severity, ''), fact, (tenant IS NULL), (environment IS NULL), (service IS NULL), (severity IS NULL));
INSERT INTO incident_events_by_day (bucket, tenant, environment, service, severity, fact, events, detect_ms, open_ms)
    SELECT substr(at, 1, 10) || 'T00:00:00.000000Z', tenant, environment, service, severity, fact,
        count(*) AS events, CAST(COALESCE(sum(detect_ms), 0) AS BIGINT) AS detect_ms, CAST(COALESCE(sum(open_ms), 0) AS BIGINT) AS open_ms
    FROM incident_events GROUP BY 1, 2, 3, 4, 5, 6;

CREATE TABLE executions_by_minute (
    bucket      TEXT NOT NULL,
    agent_name  VARCHAR(100) NOT NULL,
    status      VARCHAR(20) NOT NULL,
    runs        BIGINT NOT NULL,
    tokens      BIGINT NOT NULL,
    duration_ms BIGINT NOT NULL
);
CREATE UNIQUE INDEX executions_by_minute_key ON executions_by_minute (bucket, agent_name, status);
INSERT INTO executions_by_minute (bucket, agent_name, status, runs, tokens, duration_ms)
    SELECT substr(created_at, 1, 16) || ':00.000000Z', agent_name, status,
        count(*) AS runs, CAST(COALESCE(sum(tokens_used), 0) AS BIGINT) AS tokens, CAST(COALESCE(sum(duration_ms), 0) AS BIGINT) AS duration_ms
    FROM agent_executions GROUP BY 1, 2, 3;

CREATE TABLE executions_by_hour (
    bucket      TEXT NOT NULL,
    agent_name  VARCHAR(100) NOT NULL,
    status      VARCHAR(20) NOT NULL,
    runs        BIGINT NOT NULL,
    tokens      BIGINT NOT NULL,
    duration_ms BIGINT NOT NULL
);
CREATE UNIQUE INDEX executions_by_hour_key ON executions_by_hour (bucket, agent_name, status);
INSERT INTO executions_by_hour (bucket, agent_name, status, runs, tokens, duration_ms)
    SELECT substr(created_at, 1, 13) || ':00:00.000000Z', agent_name, status,
        count(*) AS runs, CAST(COALESCE(sum(tokens_used), 0) AS BIGINT) AS tokens, CAST(COALESCE(sum(duration_ms), 0) AS BIGINT) AS duration_ms
    FROM agent_executions GROUP BY 1, 2, 3;

CREATE TABLE executions_by_day (
    bucket      TEXT NOT NULL,
    agent_name  VARCHAR(100) NOT NULL,
    status      VARCHAR(20) NOT NULL,
    runs        BIGINT NOT NULL,
    tokens      BIGINT NOT NULL,
    duration_ms BIGINT NOT NULL
);
CREATE UNIQUE INDEX executions_by_day_key ON executions_by_day (bucket, agent_name, status);
INSERT INTO executions_by_day (bucket, agent_name, status, runs, tokens, duration_ms)
    SELECT substr(created_at, 1, 10) || 'T00:00:00.000000Z', agent_name, status,
        count(*) AS runs, CAST(COALESCE(sum(tokens_used), 0) AS BIGINT) AS tokens, CAST(COALESCE(sum(duration_ms), 0) AS BIGINT) AS duration_ms
    FROM agent_executions GROUP BY 1, 2, 3;

CREATE TABLE remediations_by_minute (
    bucket       TEXT NOT NULL,
    action_type  VARCHAR(50) NOT NULL,
    namespace    VARCHAR(100),
    status       VARCHAR(20) NOT NULL,
    remediations BIGINT NOT NULL
);
CREATE UNIQUE INDEX remediations_by_minute_key ON remediations_by_minute (bucket, action_type, COALESCE(namespace, ''), status, (namespace IS NULL));
INSERT INTO remediations_by_minute (bucket, action_type, namespace, status, remediations)
    SELECT substr(created_at, 1, 16) || ':00.000000Z', action_type, namespace, status,
        count(*) AS remediations
    FROM remediations GROUP BY 1, 2, 3, 4;

CREATE TABLE remediations_by_hour (
    bucket       TEXT NOT NULL,
    action_type  VARCHAR(50) NOT NULL,
    namespace    VARCHAR(100),
    status       VARCHAR(20) NOT NULL,
    remediations BIGINT NOT NULL
);
CREATE UNIQUE INDEX remediations_by_hour_key ON remediations_by_hour (bucket, action_type, COALESCE(namespace, ''), status, (namespace IS NULL));
INSERT INTO remediations_by_hour (bucket, action_type, namespace, status, remediations)
    SELECT substr(created_at, 1, 13) || ':00:00.000000Z', action_type, namespace, status,
        count(*) AS remediations
    FROM remediations GROUP BY 1, 2, 3, 4;

CREATE TABLE remediations_by_day (
    bucket       TEXT NOT NULL,
    action_type  VARCHAR(50) NOT NULL,
    namespace    VARCHAR(100),
    status       VARCHAR(20) NOT NULL,
    remediations BIGINT NOT NULL
);
CREATE UNIQUE INDEX remediations_by_day_key ON remediations_by_day (bucket, action_type, COALESCE(namespace, ''), status, (namespace IS NULL));
INSERT INTO remediations_by_day (bucket, action_type, namespace, status, remediations)
    SELECT substr(created_at, 1, 10) || 'T00:00:00.000000Z', action_type, namespace, status,
        count(*) AS remediations
    FROM remediations GROUP BY 1, 2, 3, 4;

CREATE TABLE pipeline_metrics_by_minute (
    bucket        TEXT NOT NULL,
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
CREATE UNIQUE INDEX pipeline_metrics_by_minute_key ON pipeline_metrics_by_minute (bucket, stage);
INSERT INTO pipeline_metrics_by_minute (bucket, stage, commits, bodies, items, forwarded, merged, suppressed, late, dead_lettered, produced)
    SELECT substr(at, 1, 16) || ':00.000000Z', stage,
        CAST(COALESCE(sum(commits), 0) AS BIGINT) AS commits, CAST(COALESCE(sum(bodies), 0) AS BIGINT) AS bodies, CAST(COALESCE(sum(items), 0) AS BIGINT) AS items, CAST(COALESCE(sum(forwarded), 0) AS BIGINT) AS forwarded, CAST(COALESCE(sum(merged), 0) AS BIGINT) AS merged, CAST(COALESCE(sum(suppressed), 0) AS BIGINT) AS suppressed, CAST(COALESCE(sum(late), 0) AS BIGINT) AS late, CAST(COALESCE(sum(dead_lettered), 0) AS BIGINT) AS dead_lettered, CAST(COALESCE(sum(produced), 0) AS BIGINT) AS produced
    FROM pipeline_metrics GROUP BY 1, 2;

CREATE TABLE pipeline_metrics_by_hour (
    bucket        TEXT NOT NULL,
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
CREATE UNIQUE INDEX pipeline_metrics_by_hour_key ON pipeline_metrics_by_hour (bucket, stage);
INSERT INTO pipeline_metrics_by_hour (bucket, stage, commits, bodies, items, forwarded, merged, suppressed, late, dead_lettered, produced)
    SELECT substr(at, 1, 13) || ':00:00.000000Z', stage,
        CAST(COALESCE(sum(commits), 0) AS BIGINT) AS commits, CAST(COALESCE(sum(bodies), 0) AS BIGINT) AS bodies, CAST(COALESCE(sum(items), 0) AS BIGINT) AS items, CAST(COALESCE(sum(forwarded), 0) AS BIGINT) AS forwarded, CAST(COALESCE(sum(merged), 0) AS BIGINT) AS merged, CAST(COALESCE(sum(suppressed), 0) AS BIGINT) AS suppressed, CAST(COALESCE(sum(late), 0) AS BIGINT) AS late, CAST(COALESCE(sum(dead_lettered), 0) AS BIGINT) AS dead_lettered, CAST(COALESCE(sum(produced), 0) AS BIGINT) AS produced
    FROM pipeline_metrics GROUP BY 1, 2;

CREATE TABLE pipeline_metrics_by_day (
    bucket        TEXT NOT NULL,
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
CREATE UNIQUE INDEX pipeline_metrics_by_day_key ON pipeline_metrics_by_day (bucket, stage);
INSERT INTO pipeline_metrics_by_day (bucket, stage, commits, bodies, items, forwarded, merged, suppressed, late, dead_lettered, produced)
    SELECT substr(at, 1, 10) || 'T00:00:00.000000Z', stage,
        CAST(COALESCE(sum(commits), 0) AS BIGINT) AS commits, CAST(COALESCE(sum(bodies), 0) AS BIGINT) AS bodies, CAST(COALESCE(sum(items), 0) AS BIGINT) AS items, CAST(COALESCE(sum(forwarded), 0) AS BIGINT) AS forwarded, CAST(COALESCE(sum(merged), 0) AS BIGINT) AS merged, CAST(COALESCE(sum(suppressed), 0) AS BIGINT) AS suppressed, CAST(COALESCE(sum(late), 0) AS BIGINT) AS late, CAST(COALESCE(sum(dead_lettered), 0) AS BIGINT) AS dead_lettered, CAST(COALESCE(sum(produced), 0) AS BIGINT) AS produced
    FROM pipeline_metrics GROUP BY 1, 2;
