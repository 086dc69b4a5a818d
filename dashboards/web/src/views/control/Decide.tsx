import { useMutation, useQueryClient } from "@tanstack/react-query";
import { type FormEvent, useId, useState } from "react";

import { approve, deny } from "../../api/remediations";
import { messageOf } from "../../api/error";
import type { RemediationView } from "../../api/shapes";
import { Button, RoleButton } from "../../ui/Button";
import { Dialog } from "../../ui/Dialog";
import { toast } from "../../ui/toasts";
import { useClock } from "../../ui/useNow";
import { Diff } from "./Diff";
import { readDryRun } from "./diff";
import { remaining } from "./expiry";
import { readProposal } from "./proposal";
import { headlineOf } from "./headline";
import styles from "./control.module.css";

interface DecideProps {
  remediation: RemediationView;
  stopped: boolean;
  /** Something was decided here. */
  onDecided: (id: string) => void;
}

/** Yes or no, each with a question before. */
export function Decide({ remediation, stopped, onDecided }: DecideProps) {
  const [asked, setAsked] = useState<"yes" | "no" | null>(null);
  const over = useClock((now) => remaining(remediation.expires_at, now).over);
  const unavailable = over ? "It has expired: nobody can grant it any more." : null;
  const close = () => setAsked(null);
  return (
    <div className="row">
      <RoleButton role="approver" look="primary" unavailable={unavailable} onClick={() => setAsked("yes")}>
        Approve…
      </RoleButton>
      <RoleButton role="approver" unavailable={unavailable} onClick={() => setAsked("no")}>
        Deny…
      </RoleButton>
      <Yes open={asked === "yes"} remediation={remediation} stopped={stopped} onClose={close} onDecided={onDecided} />
      <No open={asked === "no"} remediation={remediation} onClose={close} onDecided={onDecided} />
    </div>
  );
}

interface AnswerProps {
  open: boolean;
  remediation: RemediationView;
  onClose: () => void;
  onDecided: (id: string) => void;
}

function useAnswer(props: AnswerProps, said: string, send: (reason: string) => Promise<void>) {
  const client = useQueryClient();
  return useMutation({
    mutationFn: send,
    onSuccess: () => {
      toast(said);
      props.onDecided(props.remediation.id);
      props.onClose();
      void client.invalidateQueries({ queryKey: ["remediations"] });
    },
  });
}

function Yes({ stopped, ...props }: AnswerProps & { stopped: boolean }) {
  const { remediation, open, onClose } = props;
  const proposal = readProposal(remediation.proposal);
  const { changes, notes } = readDryRun(proposal.dryRun);
  const answer = useAnswer(props, "Your yes is written down. The gate grants it next.", () =>
    approve(remediation.id, remediation.plan_hash),
  );
  return (
    <Dialog
      open={open}
      wide
      title="Approve this plan?"
      onClose={onClose}
      actions={
        <>
          <Button onClick={onClose}>Cancel</Button>
          <Button look="primary" busy={answer.isPending} onClick={() => answer.mutate("")}>
            Approve plan {remediation.plan_hash.slice(0, 8)}
          </Button>
        </>
      }
    >
      <p className={styles.question}>{headlineOf(remediation)}</p>
      <dl className={styles.facts}>
        <dt>Target</dt>
        <dd className="mono wrap">
          {[remediation.cluster, remediation.namespace, remediation.target].filter(Boolean).join(" / ")}
        </dd>
        <dt>Plan</dt>
        <dd className="mono wrap">{remediation.plan_hash}</dd>
        <dt>Expires</dt>
        <dd>
          <Expiry at={remediation.expires_at} />
        </dd>
      </dl>
      <Diff caption="What the dry run would change" changes={changes} notes={notes} />
      <p className="muted">
        Your yes holds for exactly this plan and for the target as it stood. If the target changed since, nothing is
        done.
      </p>
      {stopped && <p className={styles.warning}>The stop switch is on: nothing is carried out until it is off.</p>}
      {answer.isError && (
        <p role="alert" className={styles.fault}>
          {messageOf(answer.error)}
        </p>
      )}
    </Dialog>
  );
}

function No(props: AnswerProps) {
  const { remediation, open, onClose } = props;
  const [reason, setReason] = useState("");
  const field = useId();
  const form = useId();
  const answer = useAnswer(props, "Your no is written down.", (because) => deny(remediation.id, because));
  const submit = (event: FormEvent) => {
    event.preventDefault();
    if (reason.trim() !== "") answer.mutate(reason.trim());
  };
  return (
    <Dialog
      open={open}
      title="Deny this plan?"
      onClose={onClose}
      actions={
        <>
          <Button onClick={onClose}>Cancel</Button>
          <Button
            look="danger"
            type="submit"
            form={form}
            busy={answer.isPending}
            unavailable={reason.trim() === "" ? "Say why, for whoever proposed it." : null}
          >
            Deny
          </Button>
        </>
      }
    >
      <p className={styles.question}>{headlineOf(remediation)}</p>
      <form id={form} className="stack" onSubmit={submit}>
        <label htmlFor={field}>Why not? Whoever proposed it reads this.</label>
        <textarea id={field} rows={3} required value={reason} onChange={(event) => setReason(event.target.value)} />
      </form>
      {answer.isError && (
        <p role="alert" className={styles.fault}>
          {messageOf(answer.error)}
        </p>
      )}
    </Dialog>
  );
}

/** How long an answer is still possible. */
export function Expiry({ at }: { at: string }) {
  const text = useClock((now) => remaining(at, now).text);
  const soon = useClock((now) => remaining(at, now).soon);
  const words = text === "expired" ? "expired" : `expires in ${text}`;
  return (
    <time dateTime={at} className={soon ? styles.soon : undefined}>
      {words}
    </time>
  );
}
