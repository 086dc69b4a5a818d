import { Button } from "./Button";
import styles from "./Toasts.module.css";
import { dismiss, useToasts } from "./toasts";

export function Toasts() {
  const toasts = useToasts();
  return (
    <div className={styles.toasts} role="status" aria-live="polite">
      {toasts.map(({ id, tone, text }) => (
        <div key={id} className={tone === "critical" ? `${styles.toast} ${styles.critical}` : styles.toast}>
          <span className="grow wrap">{text}</span>
          <Button look="quiet" size="small" aria-label="Dismiss" onClick={() => dismiss(id)}>
            ✕
          </Button>
        </div>
      ))}
    </div>
  );
}
