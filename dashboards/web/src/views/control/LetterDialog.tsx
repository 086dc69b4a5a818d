import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { type FormEvent, useId, useState } from "react";

import { messageOf } from "../../api/error";
import { drop, letter, placeOf, replay, type Letter, type Place } from "../../api/letters";
import { RoleButton } from "../../ui/Button";
import { Dialog } from "../../ui/Dialog";
import { ErrorState, Skeleton } from "../../ui/states";
import { absolute } from "../../ui/time";
import { toast } from "../../ui/toasts";
import { LetterStatus } from "./Letters";
import { showBytes } from "./bytes";
import styles from "./control.module.css";

/** The tables come a moment after the log. */
const AGAIN_MS = 1_200;

export function LetterDialog({ id, onClose }: { id: string | null; onClose: () => void }) {
  const place = id === null ? null : placeOf(id);
  return (
    <Dialog open={id !== null} wide title={id ?? "Dead letter"} onClose={onClose}>
      {place !== null && <Whole key={id} place={place} onDone={onClose} />}
    </Dialog>
  );
}

function Whole({ place, onDone }: { place: Place; onDone: () => void }) {
  const found = useQuery({
    queryKey: ["letters", "one", place.partition, place.offset],
    queryFn: ({ signal }) => letter(place, signal),
  });
  if (found.isPending) return <Skeleton />;
  if (found.isError) {
    return <ErrorState title="The letter could not be read" error={found.error} onRetry={() => void found.refetch()} />;
  }
  return (
    <>
      <About letter={found.data} />
      {found.data.status === "open" && <Deal place={place} onDone={onDone} />}
    </>
  );
}

function About({ letter: told }: { letter: Letter }) {
  const bytes = showBytes(told.body_base64);
  return (
    <>
      <dl className={styles.facts}>
        <dt>Status</dt>
        <dd>
          <LetterStatus status={told.status} />
        </dd>
        <dt>Refused by</dt>
        <dd>
          {told.stage}: {told.reason.replaceAll("_", " ")}
        </dd>
        <dt>Detail</dt>
        <dd className="wrap">{told.detail}</dd>
        {told.field !== null && (
          <>
            <dt>Field</dt>
            <dd className="mono wrap">{told.field}</dd>
          </>
        )}
        <dt>Received</dt>
        <dd>{absolute(told.received_at)}</dd>
        <dt>Stands at</dt>
        <dd className="mono wrap">{`${told.topic}/${told.partition}/${told.offset}`}</dd>
      </dl>
      <section className={styles.body}>
        <h3>
          {bytes.kind === "json" ? "Body, JSON" : bytes.kind === "text" ? "Body, text" : "Body, no text"} ({bytes.size}{" "}
          bytes)
        </h3>
        {/* eslint-disable-next-line jsx-a11y/no-noninteractive-tabindex -- it scrolls, so the keyboard must reach it */}
        <pre className={styles.bytes} tabIndex={0} aria-label="The bytes of the letter">
          {bytes.text}
        </pre>
      </section>
      <details>
        <summary>{told.headers.length} headers</summary>
        <pre>{told.headers.map(([name, value]) => `${name}: ${value}`).join("\n")}</pre>
      </details>
    </>
  );
}

/** Sends it once more, or says that it needs nothing more. */
function Deal({ place, onDone }: { place: Place; onDone: () => void }) {
  const client = useQueryClient();
  const [because, setBecause] = useState("");
  const field = useId();
  const done = (said: string) => () => {
    toast(said);
    onDone();
    const again = () => void client.invalidateQueries({ queryKey: ["letters"] });
    again();
    setTimeout(again, AGAIN_MS);
  };
  const again = useMutation({ mutationFn: () => replay(place), onSuccess: done("It is sent once more.") });
  const away = useMutation({ mutationFn: () => drop(place, because.trim()), onSuccess: done("It is dropped.") });
  const submit = (event: FormEvent) => {
    event.preventDefault();
    if (because.trim() !== "") away.mutate();
  };
  const fault = again.error ?? away.error;
  return (
    <>
      {fault !== null && (
        <p role="alert" className={styles.fault}>
          {messageOf(fault)}
        </p>
      )}
      <div className={styles.deal}>
        <RoleButton role="admin" look="primary" busy={again.isPending} onClick={() => again.mutate()}>
          Send it once more
        </RoleButton>
        <form className="row grow" onSubmit={submit}>
          <label htmlFor={field}>or drop it, because</label>
          <input
            id={field}
            className="grow"
            value={because}
            placeholder="a test by hand"
            onChange={(event) => setBecause(event.target.value)}
          />
          <RoleButton
            role="admin"
            type="submit"
            busy={away.isPending}
            unavailable={because.trim() === "" ? "Say why it needs nothing more." : null}
          >
            Drop
          </RoleButton>
        </form>
      </div>
    </>
  );
}
