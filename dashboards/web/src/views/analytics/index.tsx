import { useRef, useState } from "react";
import { useSearchParams } from "react-router";

import { Button } from "../../ui/Button";
import { Page } from "../../ui/Page";
import { Headline } from "./Headline";
import { PanelCard } from "./PanelCard";
import { SqlPanel } from "./SqlPanel";
import { PANELS } from "./panels";
import { RANGES, rangeOf } from "./range";
import styles from "./analytics.module.css";

const BLANK = `SELECT created_at, severity, status, title, service, members
FROM incidents
ORDER BY created_at DESC
LIMIT 100`;

/** How much came in, what was made of it, and how quickly. */
export default function Analytics() {
  const [params, setParams] = useSearchParams();
  const range = rangeOf(params.get("range"));
  // The number tells one opening from the next, so that each begins with its own statement.
  const [sql, setSql] = useState<{ query: string; opened: number } | null>(null);
  const place = useRef<HTMLDivElement>(null);
  const open = (query: string) => {
    setSql((before) => ({ query, opened: (before?.opened ?? 0) + 1 }));
    requestAnimationFrame(() => {
      place.current?.scrollIntoView({ block: "start" });
      place.current?.querySelector("textarea")?.focus();
    });
  };
  return (
    <Page
      title="Analytics"
      aside={
        <div className="row">
          <fieldset className={styles.ranges}>
            <legend className="hidden">Time</legend>
            {RANGES.map(({ id, label }) => (
              <label key={id} className={styles.range}>
                <input
                  type="radio"
                  name="range"
                  value={id}
                  checked={id === range.id}
                  onChange={() => setParams({ range: id }, { replace: true })}
                />
                {label}
              </label>
            ))}
          </fieldset>
          <Button onClick={() => open(BLANK)}>SQL</Button>
        </div>
      }
    >
      <div ref={place} className={styles.place}>
        {sql !== null && <SqlPanel key={sql.opened} query={sql.query} onClose={() => setSql(null)} />}
      </div>
      <Headline range={range} />
      <div className={styles.panels}>
        {PANELS.map((panel) => (
          <PanelCard key={panel.id} panel={panel} range={range} onOpenSql={open} />
        ))}
      </div>
    </Page>
  );
}
