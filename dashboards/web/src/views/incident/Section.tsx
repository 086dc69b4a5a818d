import { type ReactNode, useId } from "react";

import styles from "./incident.module.css";

export function Section({ title, aside, children }: { title: string; aside?: ReactNode; children: ReactNode }) {
  const heading = useId();
  return (
    <section className={`card ${styles.section}`} aria-labelledby={heading}>
      <div className="row">
        <h2 id={heading} className="grow">
          {title}
        </h2>
        {aside}
      </div>
      {children}
    </section>
  );
}
