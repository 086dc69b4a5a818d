import { useId } from "react";
import { Link } from "react-router";

import type { RemediationView } from "../../api/shapes";
import { StatusBadge } from "../../ui/Badge";
import { Decide, Expiry } from "./Decide";
import { Plan } from "./Plan";
import { Progress } from "./Progress";
import { headlineOf } from "./headline";
import styles from "./control.module.css";

interface CardProps {
  remediation: RemediationView;
  stopped: boolean;
  /** It was answered here a moment ago; the tables do not say so yet. */
  answered?: boolean;
  onDecided: (id: string) => void;
}

/** One remediation with its plan; it asks for an answer while it waits for one. */
export function RemediationCard({ remediation, stopped, answered = false, onDecided }: CardProps) {
  const heading = useId();
  const waiting = remediation.status === "waiting";
  return (
    <article className={`card ${styles.item}`} aria-labelledby={heading}>
      <header className={styles.itemHead}>
        <div className="grow stack">
          <h2 id={heading} className="wrap">
            {headlineOf(remediation)}
          </h2>
          <div className="row small">
            <StatusBadge status={remediation.status} />
            {waiting && <Expiry at={remediation.expires_at} />}
            <Link to={`/incidents/${remediation.incident_id}`}>its incident</Link>
          </div>
        </div>
        {waiting && answered && <span className="muted">Your answer is written down.</span>}
        {waiting && !answered && <Decide remediation={remediation} stopped={stopped} onDecided={onDecided} />}
      </header>
      <Progress remediation={remediation} />
      <Plan remediation={remediation} />
    </article>
  );
}
