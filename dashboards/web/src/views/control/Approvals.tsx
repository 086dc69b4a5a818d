import { useState } from "react";

import { EmptyState, ErrorState, Skeleton } from "../../ui/states";
import { One } from "./One";
import { RemediationCard } from "./RemediationCard";
import { useStopped } from "./StopSwitch";
import { ended } from "./facts";
import { useRemediations } from "./useRemediations";
import styles from "./control.module.css";

/** What waits for a yes or a no, and what is under way since. */
export function Approvals({ wanted }: { wanted: string | null }) {
  const [decided, setDecided] = useState<ReadonlySet<string>>(new Set());
  const waiting = useRemediations("waiting");
  const newest = useRemediations("");
  const { stopped } = useStopped();
  if (waiting.isPending || newest.isPending) return <Skeleton />;
  if (waiting.isError || newest.isError) {
    return (
      <ErrorState
        title="The remediations could not be read"
        error={waiting.error ?? newest.error}
        onRetry={() => void Promise.all([waiting.refetch(), newest.refetch()])}
      />
    );
  }
  const ask = waiting.data.pages.flatMap((page) => page.remediations).filter(({ status }) => status === "waiting");
  const asked = new Set(ask.map(({ id }) => id));
  const underWay = newest.data.pages
    .flatMap((page) => page.remediations)
    .filter(({ id, status }) => !asked.has(id) && (decided.has(id) || (!ended(status) && status !== "waiting")));
  // Whoever follows a link sees what it names, also when it waits for nobody any more.
  const elsewhere = [...ask, ...underWay].some(({ id }) => id === wanted) ? null : wanted;
  const onDecided = (id: string) => setDecided((before) => new Set([...before, id]));
  const first = (left: { id: string }, right: { id: string }) =>
    Number(right.id === wanted) - Number(left.id === wanted);
  const card = (remediation: (typeof ask)[number]) => (
    <RemediationCard
      key={remediation.id}
      remediation={remediation}
      stopped={stopped === true}
      answered={decided.has(remediation.id)}
      onDecided={onDecided}
    />
  );
  return (
    <div className={styles.list}>
      <p className="hidden" aria-live="polite">
        {ask.length === 1 ? "1 remediation waits" : `${ask.length} remediations wait`} for an answer
      </p>
      {elsewhere !== null && <One id={elsewhere} />}
      {ask.length === 0 && (
        <EmptyState title="Nothing waits for an answer">
          When an agent or a person proposes something that no rule of the policy allows, it is shown here with its
          plan.
        </EmptyState>
      )}
      {[...ask].sort(first).map(card)}
      {underWay.length > 0 && <h2 className={styles.part}>Decided, and under way</h2>}
      {underWay.map(card)}
    </div>
  );
}
