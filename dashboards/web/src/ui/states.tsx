/** What a view shows while there is nothing else to show: it waits, there is nothing, or something went wrong. */
import type { ReactNode } from "react";

import { ApiError, messageOf } from "../api/error";
import { Button } from "./Button";
import styles from "./states.module.css";

interface EmptyProps {
  title: string;
  /** Why there is nothing, and what to do about it. */
  children?: ReactNode;
  action?: ReactNode;
}

export function EmptyState({ title, children, action }: EmptyProps) {
  return (
    <div className={styles.state}>
      <h2>{title}</h2>
      {children !== undefined && <p className="muted">{children}</p>}
      {action}
    </div>
  );
}

interface ErrorProps {
  error: unknown;
  /** What could not be done: "The incident could not be read". */
  title: string;
  onRetry?: () => void;
}

export function ErrorState({ error, title, onRetry }: ErrorProps) {
  const gone = error instanceof ApiError && error.status === 404;
  return (
    <div className={styles.state} role="alert">
      <h2>{title}</h2>
      <p className="muted wrap">{messageOf(error)}</p>
      {onRetry !== undefined && !gone && <Button onClick={onRetry}>Try again</Button>}
    </div>
  );
}

export function Skeleton({ lines = 6, label = "Loading" }: { lines?: number; label?: string }) {
  return (
    <div className={styles.skeleton} role="status">
      <span className="hidden">{label}</span>
      {Array.from({ length: lines }, (_, line) => (
        <div key={line} className={styles.bar} />
      ))}
    </div>
  );
}
