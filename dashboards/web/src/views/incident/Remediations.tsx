import { Link } from "react-router";

import type { RemediationView } from "../../api/shapes";
import { whoIs } from "../../evidence/words";
import { StatusBadge } from "../../ui/Badge";
import { Time } from "../../ui/Time";
import { Section } from "./Section";
import styles from "./incident.module.css";

export function Remediations({ remediations }: { remediations: readonly RemediationView[] }) {
  return (
    <Section title="Remediation">
      {remediations.length === 0 && <p className="muted">Nothing was proposed.</p>}
      {remediations.map((remediation) => (
        <div key={remediation.id} className={styles.item}>
          <div className="row">
            <strong className="grow wrap">
              {remediation.action} {remediation.target}
            </strong>
            <StatusBadge status={remediation.status} />
          </div>
          <p className="wrap">{remediation.reason}</p>
          <div className="muted small wrap">
            Proposed by {whoIs(remediation.proposed_by)}, <Time at={remediation.created_at} />
            {remediation.decided_by != null && <>; decided by {whoIs(remediation.decided_by)}</>}
            {remediation.note != null && remediation.note !== "" && <>; {remediation.note}</>}
          </div>
          {remediation.status === "waiting" && (
            <Link to={`/control?remediation=${encodeURIComponent(remediation.id)}`}>Decide on it in Control</Link>
          )}
        </div>
      ))}
    </Section>
  );
}
