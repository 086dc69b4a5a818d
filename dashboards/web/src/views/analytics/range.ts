/** A span of time that ends now, and the steps in which it is drawn. */
export interface Range {
  id: "1h" | "24h" | "7d" | "30d";
  label: string;
  /** In words of SQL. */
  interval: string;
  /** Which of the tables with counts is fine enough. */
  table: "minute" | "hour";
  stepMs: number;
  spanMs: number;
}

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

export const RANGES: readonly [Range, ...Range[]] = [
  { id: "1h", label: "1 hour", interval: "1 hour", table: "minute", stepMs: 2 * MINUTE, spanMs: HOUR },
  { id: "24h", label: "24 hours", interval: "24 hours", table: "minute", stepMs: 30 * MINUTE, spanMs: DAY },
  { id: "7d", label: "7 days", interval: "7 days", table: "hour", stepMs: 3 * HOUR, spanMs: 7 * DAY },
  { id: "30d", label: "30 days", interval: "30 days", table: "hour", stepMs: 12 * HOUR, spanMs: 30 * DAY },
];

export function rangeOf(id: string | null): Range {
  return RANGES.find((range) => range.id === id) ?? RANGES[1] ?? RANGES[0];
}

/** Where the steps are counted from, here and in SQL. */
const ORIGIN = Date.UTC(2000, 0, 1);

/** The beginnings of all steps of the range, oldest first. */
export function steps(range: Range, now: number): number[] {
  const last = now - ((now - ORIGIN) % range.stepMs);
  const first = now - range.spanMs;
  const found: number[] = [];
  for (let at = last; at > first - range.stepMs; at -= range.stepMs) found.push(at);
  return found.reverse();
}

/** A step as text for an axis: the time of day within a day, else the day. */
export function stepLabel(at: number, range: Range): string {
  const time = new Date(at);
  if (range.spanMs <= DAY) return time.toLocaleTimeString(undefined, { hour: "2-digit", minute: "2-digit" });
  return time.toLocaleDateString(undefined, { day: "numeric", month: "short" });
}
