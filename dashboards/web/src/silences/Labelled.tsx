import { type ReactNode, useId } from "react";

import styles from "./silences.module.css";

/** What a control needs to be known by its label and its fault. */
export interface Labels {
  id: string;
  "aria-invalid": true | undefined;
  "aria-describedby": string | undefined;
}

interface LabelledProps {
  label: string;
  hint?: string;
  fault: string | undefined;
  children: (labels: Labels) => ReactNode;
}

/** A control with its label above, and what is wrong with it below. */
export function Labelled({ label, hint, fault, children }: LabelledProps) {
  const id = useId();
  const described = [hint === undefined ? null : `${id}-hint`, fault === undefined ? null : `${id}-fault`];
  return (
    <div className={styles.field}>
      <label htmlFor={id}>{label}</label>
      {children({
        id,
        "aria-invalid": fault === undefined ? undefined : true,
        "aria-describedby": described.filter((one) => one !== null).join(" ") || undefined,
      })}
      {hint !== undefined && (
        <span id={`${id}-hint`} className="muted small">
          {hint}
        </span>
      )}
      {fault !== undefined && (
        <span id={`${id}-fault`} role="alert" className={`wrap ${styles.fault}`}>
          {fault}
        </span>
      )}
    </div>
  );
}
