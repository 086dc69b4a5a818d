import { clock } from "../../ui/time";
import styles from "./incident.module.css";
import type { Point } from "./measure";

const WIDTH = 320;
const HEIGHT = 90;

interface LineChartProps {
  label: string;
  points: readonly Point[];
  /** Marked with a line. */
  onset: string | null;
}

/** A small curve of one metric. Its numbers stand in the table beside it. */
export function LineChart({ label, points, onset }: LineChartProps) {
  const first = points.at(0);
  const last = points.at(-1);
  if (first === undefined || last === undefined || first.at === last.at) return null;
  const top = Math.max(...points.map(({ value }) => value), Number.MIN_VALUE);
  const x = (at: number) => ((at - first.at) / (last.at - first.at)) * WIDTH;
  const y = (value: number) => HEIGHT - 4 - (value / top) * (HEIGHT - 10);
  const path = points.map(({ at, value }, index) => `${index === 0 ? "M" : "L"}${x(at).toFixed(1)} ${y(value).toFixed(1)}`);
  const began = onset === null ? NaN : Date.parse(onset);
  return (
    <figure className={styles.chart}>
      <svg viewBox={`0 0 ${WIDTH} ${HEIGHT}`} role="img" aria-label={label} preserveAspectRatio="none">
        <line x1="0" x2={WIDTH} y1={HEIGHT - 4} y2={HEIGHT - 4} className={styles.axis} />
        {began >= first.at && began <= last.at && (
          <line x1={x(began)} x2={x(began)} y1="0" y2={HEIGHT} className={styles.onset} />
        )}
        <path d={path.join("")} className={styles.curve} />
      </svg>
      <figcaption className="row small muted">
        <span className="grow">{clock(new Date(first.at).toISOString())}</span>
        <span>{clock(new Date(last.at).toISOString())}</span>
      </figcaption>
    </figure>
  );
}
