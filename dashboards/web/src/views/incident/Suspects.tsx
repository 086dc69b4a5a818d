import type { EventView, Finding } from "../../api/shapes";
import { FindingItem } from "../../evidence/FindingItem";
import { Time } from "../../ui/Time";
import { duration } from "../../ui/time";
import { Section } from "./Section";
import styles from "./incident.module.css";

/** Changes shortly before, and what else the agents found that may be why. */
export function Suspects({ events, findings }: { events: readonly EventView[]; findings: readonly Finding[] }) {
  const suspects = events.flatMap(({ payload }) =>
    payload.fact.type === "suspect_found" ? [payload.fact.suspect] : [],
  );
  return (
    <Section title="Suspects">
      {suspects.length === 0 && findings.length === 0 && (
        <p className="muted">No change of these services was told of shortly before.</p>
      )}
      {suspects.map((suspect) => (
        <div key={suspect.signal} className={styles.item}>
          <div className="wrap">
            <strong>{suspect.title}</strong>
          </div>
          <div className="muted small">
            {suspect.service}, from {suspect.source}, {duration(suspect.before_ms)} before the first alert,{" "}
            <Time at={suspect.at} />
          </div>
        </div>
      ))}
      {findings.map((finding) => (
        <div key={finding.kind + finding.summary} className={styles.item}>
          <FindingItem finding={finding} />
        </div>
      ))}
    </Section>
  );
}
