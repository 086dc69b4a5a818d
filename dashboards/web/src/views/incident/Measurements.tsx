import type { Finding } from "../../api/shapes";
import { Citations } from "../../evidence/Citations";
import { findingName } from "../../evidence/words";
import { absolute, clock } from "../../ui/time";
import { LineChart } from "./LineChart";
import { Section } from "./Section";
import styles from "./incident.module.css";
import { isMeasured, onsetOf, pointsOf, rowsOf } from "./measure";

function Measurement({ finding }: { finding: Finding }) {
  const points = pointsOf(finding);
  const onset = onsetOf(finding);
  const rows = rowsOf(finding);
  return (
    <div className={styles.measurement}>
      <h3>{findingName(finding.kind)}</h3>
      <p className="wrap">{finding.summary}</p>
      {points.length > 1 && <LineChart label={finding.summary} points={points} onset={onset} />}
      {(rows.length > 0 || onset !== null) && (
        <dl className={styles.numbers}>
          {onset !== null && (
            <div>
              <dt>Began</dt>
              <dd title={absolute(onset)}>{clock(onset)}</dd>
            </div>
          )}
          {rows.map(({ name, value }) => (
            <div key={name}>
              <dt>{name}</dt>
              <dd>{value}</dd>
            </div>
          ))}
        </dl>
      )}
      <Citations citations={finding.citations} />
    </div>
  );
}

/** The metrics around the onset, as far as the agents measured them. */
export function Measurements({ findings }: { findings: readonly Finding[] }) {
  const measured = findings.filter(isMeasured);
  return (
    <Section title="Metrics around the onset">
      {measured.length === 0 ? (
        <p className="muted">
          Nothing was measured. With <code>[tools.prometheus]</code> the agents look at the metrics of the service.
        </p>
      ) : (
        measured.map((finding) => <Measurement key={finding.kind + finding.summary} finding={finding} />)
      )}
    </Section>
  );
}
