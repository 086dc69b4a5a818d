import { ErrorState, Skeleton } from "../../ui/states";
import { RemediationCard } from "./RemediationCard";
import { useStopped } from "./StopSwitch";
import { useRemediation } from "./useRemediations";

/** One remediation, whatever became of it. */
export function One({ id }: { id: string }) {
  const found = useRemediation(id);
  const { stopped } = useStopped();
  if (found.isPending) return <Skeleton />;
  if (found.isError) {
    return (
      <ErrorState title="The remediation could not be read" error={found.error} onRetry={() => void found.refetch()} />
    );
  }
  return <RemediationCard remediation={found.data} stopped={stopped === true} onDecided={() => undefined} />;
}
