import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useId, useState } from "react";

import { messageOf } from "../../api/error";
import { acknowledge, resolve } from "../../api/incidents";
import type { IncidentView } from "../../api/shapes";
import { Button, RoleButton } from "../../ui/Button";
import { Dialog } from "../../ui/Dialog";
import { toast } from "../../ui/toasts";
import { SilenceAction } from "./SilenceAction";
import styles from "./incident.module.css";

/** What a person does about an incident: take it on, have quiet about it, and say that it is over. */
export function Actions({ incident }: { incident: IncidentView }) {
  const client = useQueryClient();
  const [resolving, setResolving] = useState(false);
  const [text, setText] = useState("");
  const field = useId();
  const again = () => void client.invalidateQueries({ queryKey: ["incident", incident.id] });
  const take = useMutation({
    mutationFn: () => acknowledge(incident.id),
    onSuccess: () => {
      toast("You took it on.");
      again();
    },
    onError: (error) => toast(messageOf(error), "critical"),
  });
  const close = useMutation({
    mutationFn: () => resolve(incident.id, text.trim()),
    onSuccess: () => {
      setResolving(false);
      setText("");
      toast("It is written down as resolved.");
      again();
    },
  });
  const over = incident.status === "resolved" ? "It is resolved already." : null;
  return (
    <div className="row">
      <RoleButton role="responder" unavailable={over} busy={take.isPending} onClick={() => take.mutate()}>
        Acknowledge
      </RoleButton>
      <SilenceAction incident={incident} unavailable={over} />
      <RoleButton role="responder" look="primary" unavailable={over} onClick={() => setResolving(true)}>
        Resolve…
      </RoleButton>
      <Dialog
        open={resolving}
        title="Resolve the incident"
        onClose={() => setResolving(false)}
        actions={
          <>
            <Button onClick={() => setResolving(false)}>Back</Button>
            <Button
              look="primary"
              busy={close.isPending}
              unavailable={text.trim() === "" ? "Say what ended it first." : null}
              onClick={() => close.mutate()}
            >
              Resolve
            </Button>
          </>
        }
      >
        <p className="wrap">
          <strong>{incident.title}</strong>
        </p>
        {incident.firing > 0 && (
          <p className={styles.firing}>
            {incident.firing.toLocaleString("en")} of its alerts still fire. It is resolved all the same.
          </p>
        )}
        <label htmlFor={field}>What ended it? It helps whoever has the same next time.</label>
        <textarea
          id={field}
          rows={4}
          value={text}
          onChange={(event) => setText(event.target.value)}
          placeholder="Rolled back to 1.4.1; the new cache did not let go of its entries."
        />
        {close.isError && (
          <p role="alert" className={styles.firing}>
            {messageOf(close.error)}
          </p>
        )}
      </Dialog>
    </div>
  );
}
