import { duration } from "../../ui/time";
import { ErrorState } from "../../ui/states";
import { numberOf, rowsOf } from "./answers";
import { QUERIES } from "./queries";
import type { Range } from "./range";
import { useSql } from "./useSql";
import { amount } from "../pipeline/format";
import styles from "./analytics.module.css";

type Write = (value: number) => string;

const seconds: Write = (value) => duration(value * 1000);

/** A share that is never rounded up to all of it. */
const share: Write = (value) => `${(Math.floor(value * 1000) / 10).toFixed(1)} %`;

const FIGURES: readonly (readonly [string, string, Write])[] = [
  ["alerts", "Alerts", amount],
  ["incidents", "Incidents opened", amount],
  ["reduction", "Noise reduction", share],
  ["detect", "Time to detect", seconds],
  ["acknowledge", "Time to acknowledge", seconds],
  ["resolve", "Time to resolve", seconds],
];

/** The figures that are asked for first; times are means. */
export function Headline({ range }: { range: Range }) {
  const found = useSql(QUERIES.headline(range));
  if (found.isError) {
    return (
      <ErrorState title="The figures could not be asked" error={found.error} onRetry={() => void found.refetch()} />
    );
  }
  const [row] = found.data === undefined ? [] : rowsOf(found.data);
  return (
    <dl className={styles.headline} aria-busy={found.isFetching || undefined}>
      {FIGURES.map(([column, name, write]) => {
        const value = numberOf(row?.[column]);
        return (
          <div key={column} className="card" title={write === seconds ? "Mean" : undefined}>
            <dt>{name}</dt>
            <dd>{value === null ? "–" : write(value)}</dd>
          </div>
        );
      })}
    </dl>
  );
}
