import type { SqlAnswer } from "../../api/shapes";
import { steps, type Range } from "./range";

export type Row = Record<string, unknown>;

/** Rows by the names of their columns. */
export function rowsOf(answer: SqlAnswer): Row[] {
  return answer.rows.map((row) => Object.fromEntries(answer.columns.map(({ name }, index) => [name, row[index]])));
}

/** A number of a cell; whole numbers may come as text, so that none is rounded. `null` where there is none. */
export function numberOf(cell: unknown): number | null {
  if (cell === null || cell === undefined || cell === "") return null;
  const value = Number(cell);
  return Number.isFinite(value) ? value : null;
}

/** A time of a cell: RFC 3339, or as PostgreSQL writes it. */
export function timeOf(cell: unknown): number | null {
  if (typeof cell !== "string") return null;
  const text = cell.replace(" ", "T").replace(/([+-]\d\d)$/, "$1:00");
  const zoned = /(Z|[+-]\d\d:?\d\d)$/i.test(text) ? text : `${text}Z`;
  const at = Date.parse(zoned);
  return Number.isNaN(at) ? null : at;
}

/** A step with a figure for each series. */
export interface Point {
  at: number;
  [series: string]: number;
}

/** One point a step, zero where the answer has no row, so that quiet times are drawn as quiet. */
export function pointsOf(rows: readonly Row[], series: readonly string[], range: Range, now: number): Point[] {
  const points = emptyPoints(series, range, now);
  for (const row of rows) {
    const point = points.get(timeOf(row["time"]) ?? Number.NaN);
    if (point === undefined) continue;
    for (const name of series) point[name] = (point[name] ?? 0) + (numberOf(row[name]) ?? 0);
  }
  return [...points.values()];
}

/** The same where each row names its series: `time`, `key`, `value`. */
export function pivot(
  rows: readonly Row[],
  key: string,
  value: string,
  range: Range,
  now: number,
): { series: string[]; points: Point[] } {
  const series = [...new Set(rows.map((row) => String(row[key])))].sort();
  const points = emptyPoints(series, range, now);
  for (const row of rows) {
    const point = points.get(timeOf(row["time"]) ?? Number.NaN);
    const name = String(row[key]);
    if (point !== undefined) point[name] = (point[name] ?? 0) + (numberOf(row[value]) ?? 0);
  }
  return { series, points: [...points.values()] };
}

function emptyPoints(series: readonly string[], range: Range, now: number): Map<number, Point> {
  const zeros = Object.fromEntries(series.map((name) => [name, 0]));
  return new Map(steps(range, now).map((at) => [at, { ...zeros, at }]));
}
