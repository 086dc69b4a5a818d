import type { RemediationView } from "../../api/shapes";
import { remediationsLive } from "../../live/channels";
import type { RemediationFact } from "../../live/remediations";
import { useLive } from "../../live/useLive";
import { clock } from "../../ui/time";
import { WAY, factDetail, factWord } from "./facts";
import styles from "./control.module.css";

/** How far a remediation is, and what happened since the page looks at it. */
export function Progress({ remediation }: { remediation: RemediationView }) {
  const { state } = useLive(remediationsLive);
  const facts = state.facts.get(remediation.id) ?? [];
  const at = WAY.findIndex((step) => step === remediation.status);
  return (
    <div className={styles.progress}>
      {at >= 0 && (
        <ol className={styles.way} aria-label="Progress">
          {WAY.map((step, index) => (
            <li
              key={step}
              className={index < at ? styles.done : index === at ? styles.now : undefined}
              aria-current={index === at ? "step" : undefined}
            >
              {step}
            </li>
          ))}
        </ol>
      )}
      <Told facts={facts} />
    </div>
  );
}

function Told({ facts }: { facts: readonly RemediationFact[] }) {
  if (facts.length === 0) return null;
  return (
    <ol className={styles.told} aria-label="What happened" aria-live="polite">
      {facts.map((fact, index) => (
        <li key={`${fact.at} ${index}`}>
          <time dateTime={fact.at} className="muted mono small">
            {clock(fact.at)}
          </time>
          <span className="wrap">
            {factWord(fact.type)}
            {factDetail(fact.fact) !== "" && <span className="muted"> · {factDetail(fact.fact)}</span>}
          </span>
        </li>
      ))}
    </ol>
  );
}
