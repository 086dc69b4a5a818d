import { type FormEvent, useEffect, useId, useMemo, useRef, useState } from "react";

import { messageOf } from "../api/error";
import type { IncidentView } from "../api/shapes";
import type { SilenceBody } from "../api/silences";
import { CriteriaFields } from "./CriteriaFields";
import { Labelled } from "./Labelled";
import { type Draft, type Faults, LENGTHS, UNTIL, check, draftOf, faultsOf } from "./form";
import styles from "./silences.module.css";

const NO_FAULTS: Faults = {};

interface SilenceFormProps {
  /** Of the form, for the button that sends it. */
  id: string;
  incident: IncidentView | null;
  /** Why the server did not take what was sent; null: nothing was refused. */
  refused: unknown;
  onSend: (body: SilenceBody) => void;
}

/** Which incidents, for how long, and why. */
export function SilenceForm({ id, incident, refused, onSend }: SilenceFormProps) {
  const form = useRef<HTMLFormElement>(null);
  const [draft, setDraft] = useState(() => draftOf(incident, Date.now()));
  const [own, setOwn] = useState<Faults | null>(null);
  const faults = useMemo(
    () => own ?? (refused === null ? NO_FAULTS : faultsOf(refused, messageOf(refused))),
    [own, refused],
  );
  const change = (part: Partial<Draft>) => setDraft((before) => ({ ...before, ...part }));
  useEffect(() => {
    form.current?.querySelector<HTMLElement>("[aria-invalid]")?.focus();
  }, [faults]);
  const submit = (event: FormEvent) => {
    event.preventDefault();
    const checked = check(draft, Date.now());
    if ("faults" in checked) {
      setOwn(checked.faults);
      return;
    }
    setOwn(null);
    onSend(checked.body);
  };
  return (
    <form ref={form} id={id} className="stack" noValidate onSubmit={submit}>
      <p className="muted">
        Meanwhile nobody is sent messages about it, except that something is over of which they were told before.
        Investigations and this dashboard go on, and what is still open at the end is told then.
      </p>
      {incident !== null && <Scope incident={incident} only={draft.incident} onChange={change} />}
      {draft.incident === null && <CriteriaFields draft={draft} faults={faults} onChange={change} />}
      <div className={styles.pair}>
        <Labelled label="From" hint="Empty: now." fault={faults.from}>
          {(labels) => (
            <input
              {...labels}
              type="datetime-local"
              value={draft.from}
              onChange={(event) => change({ from: event.target.value })}
            />
          )}
        </Labelled>
        <Labelled label="For" fault={draft.length === UNTIL ? undefined : faults.until}>
          {(labels) => (
            <select {...labels} value={draft.length} onChange={(event) => change({ length: event.target.value })}>
              {LENGTHS.map(([value, words]) => (
                <option key={value} value={value}>
                  {words}
                </option>
              ))}
              <option value={UNTIL}>Until a time…</option>
            </select>
          )}
        </Labelled>
        {draft.length === UNTIL && (
          <Labelled label="Until" fault={faults.until}>
            {(labels) => (
              <input
                {...labels}
                type="datetime-local"
                required
                value={draft.until}
                onChange={(event) => change({ until: event.target.value })}
              />
            )}
          </Labelled>
        )}
      </div>
      <Labelled label="Comment" hint="Whoever wonders about the silence reads this." fault={faults.comment}>
        {(labels) => (
          <textarea
            {...labels}
            rows={2}
            required
            value={draft.comment}
            onChange={(event) => change({ comment: event.target.value })}
          />
        )}
      </Labelled>
      {faults.form !== undefined && (
        <p role="alert" className={`wrap ${styles.fault}`}>
          {faults.form}
        </p>
      )}
    </form>
  );
}

interface ScopeProps {
  incident: IncidentView;
  only: string | null;
  onChange: (part: Partial<Draft>) => void;
}

/** The incident alone, or everything where it is. */
function Scope({ incident, only, onChange }: ScopeProps) {
  const name = useId();
  const { id, title, service, environment } = incident;
  return (
    <fieldset className={styles.group}>
      <legend>What is silenced</legend>
      <label className={styles.choice}>
        <input type="radio" name={name} checked={only !== null} onChange={() => onChange({ incident: id })} />
        <span className="wrap">
          Only this incident: <bdi>{title}</bdi>
        </span>
      </label>
      <label className={styles.choice}>
        <input type="radio" name={name} checked={only === null} onChange={() => onChange({ incident: null })} />
        <span className="wrap">
          Every incident {service !== null && <>of <bdi>{service}</bdi> </>}in <bdi>{environment}</bdi>
        </span>
      </label>
    </fieldset>
  );
}
