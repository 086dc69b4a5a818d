import type { RemediationView } from "../../api/shapes";
import { absolute } from "../../ui/time";
import { Diff } from "./Diff";
import { compareStates, readDryRun } from "./diff";
import { readProposal, sentence, textOf, whoIs } from "./proposal";
import styles from "./control.module.css";

/** Of the API server, not of the workload: they change with every change. */
const BOOKKEEPING = /^(uid|spec_hash|resource_version|detail\.observed_generation)$/;

/** What would be done, what it rests on, and what takes it back. */
export function Plan({ remediation }: { remediation: RemediationView }) {
  const proposal = readProposal(remediation.proposal);
  const { changes, notes } = readDryRun(proposal.dryRun);
  const text = proposal.action === null ? null : textOf(proposal.action);
  const seen =
    remediation.before == null || remediation.after == null
      ? []
      : compareStates(remediation.before, remediation.after).filter(({ path }) => !BOOKKEEPING.test(path));
  return (
    <div className={styles.plan}>
      <dl className={styles.facts}>
        <dt>Why</dt>
        <dd className="wrap">{remediation.reason}</dd>
        <dt>Proposed by</dt>
        <dd>
          {whoIs(remediation.proposed_by)},{" "}
          <time dateTime={remediation.created_at}>{absolute(remediation.created_at)}</time>
        </dd>
        {remediation.decided_by != null && (
          <>
            <dt>Decided by</dt>
            <dd>{whoIs(remediation.decided_by)}</dd>
          </>
        )}
        {remediation.note != null && (
          <>
            <dt>{remediation.status === "waiting" ? "Policy" : "Note"}</dt>
            <dd className="wrap">
              {remediation.status === "waiting" ? `A person is asked: ${remediation.note}.` : remediation.note}
            </dd>
          </>
        )}
        <dt>Touches</dt>
        <dd>{touches(proposal.blast)}</dd>
        <dt>Taken back by</dt>
        <dd className="wrap">{proposal.inverse === null ? "Nothing takes it back." : sentence(proposal.inverse)}</dd>
        <dt>Plan</dt>
        <dd className="mono wrap">{remediation.plan_hash}</dd>
      </dl>
      <section>
        <h3>Dry run: what would change</h3>
        {changes.length === 0 && notes.length === 0 ? (
          <p className="muted">The dry run said nothing.</p>
        ) : (
          <Diff caption="What the dry run would change" changes={changes} notes={notes} />
        )}
      </section>
      {text !== null && (
        <section>
          <h3>The text that is written</h3>
          <pre>{text}</pre>
        </section>
      )}
      {seen.length > 0 && (
        <section>
          <h3>The target, before and after</h3>
          <Diff caption="The target before and after the call" changes={seen} />
        </section>
      )}
      {proposal.citations.length > 0 && (
        <section>
          <h3>Evidence</h3>
          <ul className={styles.citations}>
            {proposal.citations.map((citation) => (
              <li key={citation.id}>
                <p className="wrap">{citation.excerpt}</p>
                <p className="muted small wrap">
                  {citation.source}: {citation.query}
                </p>
              </li>
            ))}
          </ul>
        </section>
      )}
    </div>
  );
}

function touches(blast: { workloads: number; pods: number } | null): string {
  if (blast === null) return "not known";
  if (blast.workloads === 0 && blast.pods === 0) return "nothing in a cluster";
  const workloads = `${blast.workloads} ${blast.workloads === 1 ? "workload" : "workloads"}`;
  return `${workloads}, ${blast.pods} ${blast.pods === 1 ? "pod" : "pods"}`;
}
