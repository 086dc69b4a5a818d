import { useState } from "react";

import { Button } from "../../ui/Button";
import styles from "./start.module.css";

/** A text to be pasted somewhere, with a button that copies it. */
export function Copy({ label, text }: { label: string; text: string }) {
  const [outcome, setOutcome] = useState<"" | "Copied" | "Select and copy it by hand">("");
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(text);
      setOutcome("Copied");
    } catch {
      // Browsers refuse where the page has no secure origin, or the person said no.
      setOutcome("Select and copy it by hand");
    }
    setTimeout(() => setOutcome(""), 2_500);
  };
  return (
    <div className={styles.copy}>
      {/* eslint-disable-next-line jsx-a11y/no-noninteractive-tabindex -- it scrolls, so the keyboard must reach it */}
      <pre tabIndex={0} aria-label={label}>
        {text}
      </pre>
      <div className={styles.copyFoot}>
        <span className="muted small" role="status">
          {outcome}
        </span>
        <Button size="small" aria-label={`Copy: ${label}`} onClick={() => void copy()}>
          Copy
        </Button>
      </div>
    </div>
  );
}
