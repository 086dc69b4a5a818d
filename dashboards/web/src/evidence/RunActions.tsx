import { useMutation } from "@tanstack/react-query";
import { useState } from "react";

import { messageOf } from "../api/error";
import { type Verb, run } from "../api/incidents";
import { Button, RoleButton } from "../ui/Button";
import { Dialog } from "../ui/Dialog";
import { toast } from "../ui/toasts";
import styles from "./evidence.module.css";

const TOLD: Record<Verb, string> = {
  pause: "The investigation is asked to pause.",
  resume: "The investigation is asked to go on.",
  cancel: "The investigation is asked to stop.",
  rerun: "A new investigation is asked for.",
};

interface RunActionsProps {
  incident: string;
  running: boolean;
  paused: boolean;
}

/** Leads the investigation of an incident: pause, resume, cancel, and once more. */
export function RunActions({ incident, running, paused }: RunActionsProps) {
  const [cancelling, setCancelling] = useState(false);
  const order = useMutation({
    mutationFn: (verb: Verb) => run(incident, verb),
    onSuccess: (_, verb) => toast(TOLD[verb]),
    onError: (error) => toast(messageOf(error), "critical"),
  });
  const idle = running ? null : "No investigation is running.";
  return (
    <div className={styles.actions} role="group" aria-label="Investigation">
      {paused ? (
        <RoleButton role="responder" size="small" busy={order.isPending} onClick={() => order.mutate("resume")}>
          Resume
        </RoleButton>
      ) : (
        <RoleButton
          role="responder"
          size="small"
          busy={order.isPending}
          unavailable={idle}
          onClick={() => order.mutate("pause")}
        >
          Pause
        </RoleButton>
      )}
      <RoleButton
        role="responder"
        size="small"
        busy={order.isPending}
        unavailable={paused ? null : idle}
        onClick={() => setCancelling(true)}
      >
        Cancel run
      </RoleButton>
      <RoleButton role="responder" size="small" busy={order.isPending} onClick={() => order.mutate("rerun")}>
        Run again
      </RoleButton>
      <Dialog
        open={cancelling}
        title="Cancel the investigation?"
        onClose={() => setCancelling(false)}
        actions={
          <>
            <Button onClick={() => setCancelling(false)}>Keep it running</Button>
            <Button
              look="danger"
              onClick={() => {
                setCancelling(false);
                order.mutate("cancel");
              }}
            >
              Cancel run
            </Button>
          </>
        }
      >
        <p>Steps that have ended keep their findings. The incident stays as it is, and can be investigated again.</p>
      </Dialog>
    </div>
  );
}
