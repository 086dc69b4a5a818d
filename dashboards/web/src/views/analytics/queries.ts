/**
 * The statements behind the charts. They are DataFusion's SQL, and the same as those of the Grafana dashboards where
 * both show the same; everybody can open and change them.
 */
import type { Range } from "./range";

export type QueryId =
  "headline" | "volumes" | "noise" | "byService" | "byRule" | "outcomes" | "agents" | "tokens" | "services";

type Query = (range: Range) => string;

const since = (range: Range) => `now() - INTERVAL '${range.interval}'`;

const MINUTE = 60_000;

/** The step that a bucket falls into. */
const step = (range: Range) =>
  `date_bin(INTERVAL '${String(range.stepMs / MINUTE)} minutes', bucket, TIMESTAMPTZ '2000-01-01 00:00:00+00')`;

/** Mean over events of the given facts, in seconds. */
const mean = (facts: string, column: string) =>
  `CAST(SUM(CASE WHEN fact IN (${facts}) THEN ${column} ELSE 0 END) AS DOUBLE PRECISION)
    / NULLIF(SUM(CASE WHEN fact IN (${facts}) THEN events ELSE 0 END), 0) / 1000`;

const count = (statuses: string) =>
  `CAST(SUM(CASE WHEN status IN (${statuses}) THEN remediations ELSE 0 END) AS BIGINT)`;

const named = (column: string) => `COALESCE(NULLIF(${column}, ''), '(none)')`;

/** Times of incidents by whatever names them. `detect`: from the alert to its incident. */
const times = (range: Range, name: string, column: string, join: string) => `SELECT ${column} AS ${name},
  COUNT(*) AS incidents,
  AVG(e.detect) AS detect,
  AVG(e.acknowledge) AS acknowledge,
  AVG(EXTRACT(EPOCH FROM i.resolved_at) - EXTRACT(EPOCH FROM i.created_at)) AS resolve
FROM incidents i
LEFT JOIN (
  SELECT incident_id,
    CAST(MIN(CASE WHEN fact = 'opened' THEN detect_ms END) AS DOUBLE PRECISION) / 1000 AS detect,
    CAST(MIN(CASE WHEN fact = 'acknowledged' THEN open_ms END) AS DOUBLE PRECISION) / 1000 AS acknowledge
  FROM incident_events
  WHERE at >= ${since(range)} AND fact IN ('opened', 'acknowledged')
  GROUP BY 1
) e ON e.incident_id = i.id${join}
WHERE i.created_at >= ${since(range)} AND i.merged_into IS NULL
GROUP BY 1
ORDER BY 2 DESC, 1
LIMIT 20`;

const headline: Query = (range) => `SELECT a.alerts, o.incidents,
  1 - CAST(o.incidents AS DOUBLE PRECISION) / NULLIF(a.alerts, 0) AS reduction,
  o.detect, o.acknowledge, o.resolve
FROM (
  SELECT CAST(COALESCE(SUM(signals), 0) AS BIGINT) AS alerts
  FROM signals_by_${range.table}
  WHERE kind = 'alert' AND bucket >= ${since(range)}
) a
CROSS JOIN (
  SELECT CAST(COALESCE(SUM(CASE WHEN fact = 'opened' THEN events ELSE 0 END), 0) AS BIGINT) AS incidents,
  ${mean("'opened'", "detect_ms")} AS detect,
  ${mean("'acknowledged'", "open_ms")} AS acknowledge,
  ${mean("'resolved', 'closed'", "open_ms")} AS resolve
  FROM incident_events_by_${range.table}
  WHERE bucket >= ${since(range)}
) o`;

const volumes: Query = (range) => `SELECT ${step(range)} AS time, kind, CAST(SUM(signals) AS BIGINT) AS signals
FROM signals_by_${range.table}
WHERE bucket >= ${since(range)}
GROUP BY 1, 2
ORDER BY 1, 2`;

const noise: Query = (range) => `SELECT ${step(range)} AS time,
  CAST(SUM(alerts) AS BIGINT) AS alerts, CAST(SUM(incidents) AS BIGINT) AS incidents
FROM (
  SELECT bucket, signals AS alerts, 0 AS incidents
  FROM signals_by_${range.table}
  WHERE kind = 'alert' AND bucket >= ${since(range)}
  UNION ALL
  SELECT bucket, 0, events
  FROM incident_events_by_${range.table}
  WHERE fact = 'opened' AND bucket >= ${since(range)}
) both_of_them
GROUP BY 1
ORDER BY 1`;

const byService: Query = (range) => times(range, "service", named("i.service"), "");

const byRule: Query = (range) =>
  times(
    range,
    "rule",
    "COALESCE(r.rule, i.source)",
    `
LEFT JOIN (
  SELECT dedup_key, MAX(labels->>'alertname') AS rule
  FROM alerts
  WHERE event_at >= ${since(range)}
  GROUP BY 1
) r ON r.dedup_key = i.alert_id`,
  );

const outcomes: Query = (range) => `SELECT action_type AS action,
  ${count("'verified'")} AS helped,
  ${count("'failed', 'rolled_back', 'unverified'")} AS did_not_help,
  ${count("'denied', 'expired'")} AS refused,
  ${count("'proposed', 'waiting', 'granted', 'attempted', 'executed'")} AS under_way
FROM remediations_by_${range.table}
WHERE bucket >= ${since(range)}
GROUP BY 1
ORDER BY 1`;

const agents: Query = (range) => `SELECT agent_name AS agent,
  CAST(SUM(CASE WHEN status = 'success' THEN runs ELSE 0 END) AS BIGINT) AS success,
  CAST(SUM(CASE WHEN status IN ('failed', 'timeout') THEN runs ELSE 0 END) AS BIGINT) AS failed,
  CAST(SUM(CASE WHEN status IN ('running', 'cancelled') THEN runs ELSE 0 END) AS BIGINT) AS other,
  CAST(SUM(tokens) AS BIGINT) AS tokens,
  CAST(SUM(duration_ms) AS DOUBLE PRECISION) / NULLIF(SUM(runs), 0) / 1000 AS seconds
FROM executions_by_${range.table}
WHERE bucket >= ${since(range)}
GROUP BY 1
ORDER BY 5 DESC, 2 DESC, 1`;

const tokens: Query = (range) => `SELECT ${step(range)} AS time, agent_name AS agent,
  CAST(SUM(tokens) AS BIGINT) AS tokens
FROM executions_by_${range.table}
WHERE bucket >= ${since(range)}
GROUP BY 1, 2
ORDER BY 1, 2`;

const severity = (condition: string) => `CAST(SUM(CASE WHEN severity ${condition} THEN signals ELSE 0 END) AS BIGINT)`;

const services: Query = (range) => `SELECT ${named("service")} AS service,
  ${severity("= 'critical'")} AS critical,
  ${severity("= 'warning'")} AS warning,
  ${severity("NOT IN ('critical', 'warning')")} AS info
FROM signals_by_${range.table}
WHERE kind = 'alert' AND bucket >= ${since(range)}
GROUP BY 1
ORDER BY SUM(signals) DESC, 1
LIMIT 10`;

export const QUERIES: Record<QueryId, Query> = {
  headline,
  volumes,
  noise,
  byService,
  byRule,
  outcomes,
  agents,
  tokens,
  services,
};
