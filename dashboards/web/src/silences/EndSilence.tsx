import { useState } from "react";

import { messageOf } from "../api/error";
import type { SilenceView } from "../api/silences";
import { Button, RoleButton } from "../ui/Button";
import { Dialog } from "../ui/Dialog";
import { toast } from "../ui/toasts";
import styles from "./silences.module.css";
import { useEnd } from "./useSilences";
import { which } from "./words";

/** Ends a silence before its time, after a question. */
export function EndSilence({ silence, children }: { silence: SilenceView; children: string }) {
  const [asking, setAsking] = useState(false);
  const end = useEnd(() => {
    setAsking(false);
    toast("The silence is ended.");
  });
  const close = () => {
    end.reset();
    setAsking(false);
  };
  return (
    <>
      <RoleButton role="responder" size="small" onClick={() => setAsking(true)}>
        {children}
      </RoleButton>
      <Dialog
        open={asking}
        title="End this silence?"
        onClose={close}
        actions={
          <>
            <Button onClick={close}>Keep it</Button>
            <Button look="primary" busy={end.isPending} onClick={() => end.mutate(silence.id)}>
              End silence
            </Button>
          </>
        }
      >
        <p className="wrap">
          <strong>
            <bdi>{which(silence)}</bdi>
          </strong>
        </p>
        <p>Messages are sent again from then on. What was held back and is still open is told at once.</p>
        {end.isError && (
          <p role="alert" className={styles.fault}>
            {messageOf(end.error)}
          </p>
        )}
      </Dialog>
    </>
  );
}
