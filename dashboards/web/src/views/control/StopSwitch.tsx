import { useMutation, useQuery } from "@tanstack/react-query";
import { useState } from "react";

import { messageOf } from "../../api/error";
import { stopSwitch, turnStop } from "../../api/remediations";
import { remediationsLive } from "../../live/channels";
import { useLive } from "../../live/useLive";
import { Badge } from "../../ui/Badge";
import { Button, RoleButton } from "../../ui/Button";
import { Dialog } from "../../ui/Dialog";
import { ErrorState, Skeleton } from "../../ui/states";
import { toast } from "../../ui/toasts";
import styles from "./control.module.css";

/** How the stop switch stands: as the live connection tells it, before that as REST does. `null`: not known yet. */
export function useStopped() {
  const { ready, state } = useLive(remediationsLive);
  const live = ready ? state.stopped : null;
  const asked = useQuery({
    queryKey: ["remediations", "stop"],
    queryFn: ({ signal }) => stopSwitch(signal),
    enabled: live === null,
  });
  return { stopped: live ?? asked.data?.on ?? null, asked };
}

/** Stops everything that acts. On is an approver's; off is an admin's. */
export function StopSwitch() {
  const { stopped, asked } = useStopped();
  const [asking, setAsking] = useState(false);
  const turn = useMutation({
    mutationFn: turnStop,
    onSuccess: (_, on) => {
      setAsking(false);
      toast(on ? "The stop switch is being turned on." : "The stop switch is being turned off.");
    },
  });
  if (stopped === null) {
    return asked.isError ? (
      <ErrorState title="The stop switch could not be read" error={asked.error} onRetry={() => void asked.refetch()} />
    ) : (
      <Skeleton lines={3} />
    );
  }
  return (
    <section className={`card ${styles.stop} ${stopped ? styles.stopped : ""}`} aria-label="Stop switch">
      <p aria-live="polite">
        {stopped ? (
          <Badge tone="critical" shape="pause">
            Stopped: nothing is carried out
          </Badge>
        ) : (
          <Badge tone="good" shape="check">
            Off: what is granted is carried out
          </Badge>
        )}
      </p>
      <p className="muted">
        While it is on, nothing that was granted is carried out, by rule or by a person. Investigations and proposals go
        on. An approver turns it on; only an admin turns it off.
      </p>
      <div className="row">
        {stopped ? (
          <RoleButton role="admin" onClick={() => setAsking(true)}>
            Let it go on…
          </RoleButton>
        ) : (
          <RoleButton role="approver" look="danger" onClick={() => setAsking(true)}>
            Stop everything…
          </RoleButton>
        )}
      </div>
      <Dialog
        open={asking}
        title={stopped ? "Let remediations go on?" : "Stop all remediations?"}
        onClose={() => setAsking(false)}
        actions={
          <>
            <Button onClick={() => setAsking(false)}>Cancel</Button>
            <Button look={stopped ? "primary" : "danger"} busy={turn.isPending} onClick={() => turn.mutate(!stopped)}>
              {stopped ? "Let it go on" : "Stop everything"}
            </Button>
          </>
        }
      >
        <p>
          {stopped
            ? "What was granted and has not expired is carried out again, and what is granted from now on."
            : "Nothing is carried out any more, in every process of this installation, until an admin lets it go on."}
        </p>
        {turn.isError && (
          <p role="alert" className={styles.fault}>
            {messageOf(turn.error)}
          </p>
        )}
      </Dialog>
    </section>
  );
}
