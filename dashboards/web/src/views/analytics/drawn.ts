import type { SqlAnswer } from "../../api/shapes";
import { duration } from "../../ui/time";
import { type Point, type Row, numberOf, pivot, pointsOf, rowsOf } from "./answers";
import type { Panel, Series, Unit } from "./panels";
import type { Range } from "./range";

const COLOURS = 6;

/** An answer as its chart takes it. */
export type Drawn =
  | { kind: "time"; series: readonly Series[]; points: Point[] }
  | { kind: "bars"; series: readonly Series[]; bars: Bar[] };

export interface Bar {
  name: string;
  values: Record<string, number | null>;
}

/** `null` where there is nothing to see: no rows, or nothing but zeros. */
export function drawn(panel: Panel, answer: SqlAnswer, range: Range, now: number): Drawn | null {
  const rows = rowsOf(answer);
  if (panel.kind === "bars") {
    const bars = rows.map((row) => bar(row, panel.name, panel.series));
    return bars.some(({ values }) => Object.values(values).some((value) => value !== null && value > 0))
      ? { kind: "bars", series: panel.series, bars }
      : null;
  }
  const { series, points } =
    panel.kind === "time"
      ? {
          series: panel.series,
          points: pointsOf(
            rows,
            panel.series.map(({ column }) => column),
            range,
            now,
          ),
        }
      : pivoted(rows, panel.key, panel.value, range, now);
  const something = points.some((point) => series.some(({ column }) => (point[column] ?? 0) > 0));
  return something ? { kind: "time", series, points } : null;
}

function pivoted(rows: readonly Row[], key: string, value: string, range: Range, now: number) {
  const { series, points } = pivot(rows, key, value, range, now);
  return {
    points,
    series: series.map((name, index): Series => ({
      column: name,
      name: name.replaceAll("_", " "),
      colour: `var(--chart-${(index % COLOURS) + 1})`,
    })),
  };
}

function bar(row: Row, name: string, series: readonly Series[]): Bar {
  return {
    name: String(row[name] ?? "(none)"),
    values: Object.fromEntries(series.map(({ column }) => [column, numberOf(row[column])])),
  };
}

const WHOLE = new Intl.NumberFormat();
const SHORT = new Intl.NumberFormat(undefined, { notation: "compact", maximumFractionDigits: 1 });

export function figure(value: number | null | undefined, unit: Unit): string {
  if (value === null || value === undefined) return "–";
  return unit === "seconds" ? duration(value * 1000) : WHOLE.format(value);
}

/** For an axis: as short as possible. */
export function tick(value: number, unit: Unit): string {
  if (unit === "count") return SHORT.format(value);
  if (value === 0) return "0";
  if (value < 120) return `${SHORT.format(value)} s`;
  return value < 7200 ? `${SHORT.format(value / 60)} min` : `${SHORT.format(value / 3600)} h`;
}
