import { useId, useState } from "react";

import { Button } from "../../ui/Button";
import { EmptyState, ErrorState, Skeleton } from "../../ui/states";
import { useClock } from "../../ui/useNow";
import { Chart } from "./Chart";
import { ChartTable } from "./ChartTable";
import { drawn } from "./drawn";
import type { Panel } from "./panels";
import { QUERIES } from "./queries";
import type { Range } from "./range";
import { useSql } from "./useSql";
import styles from "./analytics.module.css";

interface PanelCardProps {
  panel: Panel;
  range: Range;
  onOpenSql: (query: string) => void;
}

/** A chart, its table, and the statement behind both. */
export function PanelCard({ panel, range, onOpenSql }: PanelCardProps) {
  const heading = useId();
  const [table, setTable] = useState(false);
  const query = QUERIES[panel.id](range);
  const found = useSql(query);
  // Steps are minutes long: the present is needed no more exactly.
  const now = useClock((at) => at - (at % 60_000)) + 59_999;
  const picture = found.data === undefined ? null : drawn(panel, found.data, range, now);
  return (
    <section className={`card ${styles.panel}`} aria-labelledby={heading} aria-busy={found.isFetching || undefined}>
      <header className={styles.panelHead}>
        <h2 id={heading} className="grow">
          {panel.title}
        </h2>
        <Button size="small" look="quiet" aria-pressed={table} onClick={() => setTable(!table)}>
          Table
        </Button>
        <Button size="small" look="quiet" onClick={() => onOpenSql(query)}>
          Open SQL
        </Button>
      </header>
      <p className="muted small">{panel.about}</p>
      {found.isPending && <Skeleton lines={5} />}
      {found.isError && (
        <ErrorState title="This could not be asked" error={found.error} onRetry={() => void found.refetch()} />
      )}
      {found.data !== undefined && picture === null && <EmptyState title="Nothing to see">{panel.empty}</EmptyState>}
      {found.data !== undefined && picture !== null && (
        <>
          {!table && <Chart drawn={picture} panel={panel} range={range} />}
          <div className={table ? undefined : "hidden"}>
            <ChartTable title={panel.title} answer={found.data} />
          </div>
        </>
      )}
    </section>
  );
}
