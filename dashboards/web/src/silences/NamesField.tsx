import { type KeyboardEvent, useId } from "react";

import { Button } from "../ui/Button";
import { Labelled } from "./Labelled";
import { type Names, choose } from "./form";
import styles from "./silences.module.css";

interface NamesFieldProps {
  label: string;
  names: Names;
  /** Of these some are proposed; any other is fine. */
  known: readonly string[];
  fault: string | undefined;
  onChange: (names: Names) => void;
}

/** One name or several: Enter takes what is typed and begins another. */
export function NamesField({ label, names, known, fault, onChange }: NamesFieldProps) {
  const list = useId();
  const { chosen, typed } = names;
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.key !== "Enter" || typed.trim() === "") return;
    event.preventDefault();
    onChange(choose(names));
  };
  return (
    <Labelled label={label} hint="Any of them. Enter adds another." fault={fault}>
      {(labels) => (
        <>
          {chosen.length > 0 && (
            <ul className={styles.chosen} aria-label={`${label}, chosen`}>
              {chosen.map((name) => (
                <li key={name} className={styles.name}>
                  <bdi className="wrap">{name}</bdi>
                  <Button
                    look="quiet"
                    size="small"
                    aria-label={`Remove ${name}`}
                    onClick={() => onChange({ chosen: chosen.filter((other) => other !== name), typed })}
                  >
                    ✕
                  </Button>
                </li>
              ))}
            </ul>
          )}
          <input
            {...labels}
            list={list}
            autoComplete="off"
            spellCheck={false}
            value={typed}
            onChange={(event) => onChange({ chosen, typed: event.target.value })}
            onKeyDown={onKeyDown}
          />
          <datalist id={list}>
            {known.map((name) => (
              <option key={name} value={name} />
            ))}
          </datalist>
        </>
      )}
    </Labelled>
  );
}
