import type { QueryId } from "./queries";

/** A column of an answer that is drawn, or shown in the panel's table. */
export interface Series {
  column: string;
  name: string;
  /** A variable of the stylesheet. */
  colour: string;
}

export type Unit = "count" | "seconds";

interface Common {
  id: QueryId;
  title: string;
  /** What is to be seen, and how it is counted. */
  about: string;
  /** What to do where there is nothing. */
  empty: string;
  unit: Unit;
}

/**
 * How an answer is drawn: over time, or a bar for each name. Series `apart` have a picture each, because one is so much
 * larger than the other that nothing of the other would be seen.
 */
export type Panel = Common &
  (
    | { kind: "time"; series: readonly Series[]; apart: boolean }
    | { kind: "times"; key: string; value: string }
    | { kind: "bars"; name: string; stacked: boolean; series: readonly Series[] }
  );

const TIMES: readonly Series[] = [
  { column: "detect", name: "to detect", colour: "var(--chart-1)" },
  { column: "acknowledge", name: "to acknowledge", colour: "var(--chart-2)" },
  { column: "resolve", name: "to resolve", colour: "var(--chart-3)" },
];

export const PANELS: readonly Panel[] = [
  {
    id: "volumes",
    title: "Signals",
    about: "What came in, by kind.",
    empty: "Nothing came in within this time.",
    unit: "count",
    kind: "times",
    key: "kind",
    value: "signals",
  },
  {
    id: "noise",
    title: "Noise reduction",
    about: "Alerts that senders said, and the incidents that were opened for them.",
    empty: "No alert came in within this time.",
    unit: "count",
    kind: "time",
    apart: true,
    series: [
      { column: "alerts", name: "alerts", colour: "var(--chart-1)" },
      { column: "incidents", name: "incidents", colour: "var(--chart-4)" },
    ],
  },
  {
    id: "byService",
    title: "Times by service",
    about: "Mean times of the incidents that began within this time. To detect: from the alert to its incident.",
    empty: "No incident began within this time.",
    unit: "seconds",
    kind: "bars",
    name: "service",
    stacked: false,
    series: TIMES,
  },
  {
    id: "byRule",
    title: "Times by rule",
    about: "The same by the alerting rule that opened the incident.",
    empty: "No incident began within this time.",
    unit: "seconds",
    kind: "bars",
    name: "rule",
    stacked: false,
    series: TIMES,
  },
  {
    id: "services",
    title: "Services with most alerts",
    about: "Alerts by severity.",
    empty: "No alert came in within this time.",
    unit: "count",
    kind: "bars",
    name: "service",
    stacked: true,
    series: [
      { column: "critical", name: "critical", colour: "var(--critical)" },
      { column: "warning", name: "warning", colour: "var(--warning)" },
      { column: "info", name: "info", colour: "var(--info)" },
    ],
  },
  {
    id: "outcomes",
    title: "Remediations",
    about: "What became of what was proposed.",
    empty: "Nothing was proposed within this time.",
    unit: "count",
    kind: "bars",
    name: "action",
    stacked: true,
    series: [
      { column: "helped", name: "helped", colour: "var(--good)" },
      { column: "did_not_help", name: "did not help", colour: "var(--critical)" },
      { column: "refused", name: "refused", colour: "var(--chart-5)" },
      { column: "under_way", name: "under way", colour: "var(--info)" },
    ],
  },
  {
    id: "agents",
    title: "Steps of agents",
    about: "How steps ended.",
    empty: "No agent ran within this time.",
    unit: "count",
    kind: "bars",
    name: "agent",
    stacked: true,
    series: [
      { column: "success", name: "done", colour: "var(--good)" },
      { column: "failed", name: "failed", colour: "var(--critical)" },
      { column: "other", name: "running or cancelled", colour: "var(--chart-5)" },
    ],
  },
  {
    id: "tokens",
    title: "Tokens of agents",
    about: "What models were given and gave, by agent: what agents cost.",
    empty: "No tokens were used: no agent asked a model within this time.",
    unit: "count",
    kind: "times",
    key: "agent",
    value: "tokens",
  },
];
