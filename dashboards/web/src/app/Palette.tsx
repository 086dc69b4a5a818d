import { type KeyboardEvent, useId, useState } from "react";
import { useNavigate } from "react-router";

import { useIncidents } from "../live/useIncidents";
import { SeverityBadge } from "../ui/Badge";
import { Dialog } from "../ui/Dialog";
import styles from "./Palette.module.css";
import { PLACES } from "./places";

interface Target {
  path: string;
  name: string;
  severity: string | null;
}

/** More would be a list to read, not one to choose from. */
const MOST = 12;

function Choices({ onClose }: { onClose: () => void }) {
  const incidents = useIncidents().state.list;
  const navigate = useNavigate();
  const [text, setText] = useState("");
  const [chosen, setChosen] = useState(0);
  const list = useId();

  const wanted = text.trim().toLowerCase();
  const places: Target[] = PLACES.map(({ path, name }) => ({ path, name, severity: null }));
  const found: Target[] = incidents
    .filter(({ merged_into }) => merged_into === null)
    .map(({ id, title, severity }) => ({ path: `/incidents/${id}`, name: title, severity }));
  const targets = [...places, ...found]
    .filter(({ name, path }) => name.toLowerCase().includes(wanted) || (wanted !== "" && path.endsWith(wanted)))
    .slice(0, MOST);
  const at = Math.min(chosen, Math.max(0, targets.length - 1));

  const go = (target: Target | undefined) => {
    if (target === undefined) return;
    onClose();
    void navigate(target.path);
  };
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.key === "ArrowDown") setChosen((at + 1) % Math.max(1, targets.length));
    else if (event.key === "ArrowUp") setChosen((at - 1 + targets.length) % Math.max(1, targets.length));
    else if (event.key === "Enter") go(targets[at]);
    else return;
    event.preventDefault();
  };

  return (
    <>
      <input
        className={styles.input}
        role="combobox"
        aria-expanded="true"
        aria-controls={list}
        aria-activedescendant={targets.length > 0 ? `${list}-${at}` : undefined}
        aria-label="Title of an incident, its id, or a view"
        placeholder="Title of an incident, its id, or a view"
        value={text}
        onChange={(event) => {
          setText(event.target.value);
          setChosen(0);
        }}
        onKeyDown={onKeyDown}
      />
      <div id={list} role="listbox" aria-label="Found" className={styles.list}>
        {targets.map((target, index) => (
          // The keyboard works in the text field.
          // eslint-disable-next-line jsx-a11y/click-events-have-key-events
          <div
            key={target.path}
            id={`${list}-${index}`}
            role="option"
            tabIndex={-1}
            aria-selected={index === at}
            className={styles.option}
            onClick={() => go(target)}
          >
            {target.severity !== null && <SeverityBadge severity={target.severity} />}
            <span className="wrap">{target.name}</span>
          </div>
        ))}
      </div>
      {targets.length === 0 && <p className="muted">Nothing among the incidents on this page. Search in Incidents for older ones.</p>}
    </>
  );
}

/** Jumps to an incident or a view by name. */
export function Palette({ open, onClose }: { open: boolean; onClose: () => void }) {
  return (
    <Dialog open={open} title="Go to" onClose={onClose}>
      <Choices onClose={onClose} />
    </Dialog>
  );
}
