/** Short messages about what was just done. */
import { useSyncExternalStore } from "react";

export interface Toast {
  id: number;
  tone: "good" | "critical";
  text: string;
}

/** Long enough to be read twice. */
const SHOWN_MS = 7_000;
const MOST = 4;

let toasts: readonly Toast[] = [];
let next = 0;
const listeners = new Set<() => void>();

function set(changed: readonly Toast[]): void {
  toasts = changed;
  for (const listener of listeners) listener();
}

export function toast(text: string, tone: Toast["tone"] = "good"): void {
  const id = next++;
  set([...toasts, { id, tone, text }].slice(-MOST));
  setTimeout(() => dismiss(id), SHOWN_MS);
}

export function dismiss(id: number): void {
  set(toasts.filter((one) => one.id !== id));
}

export function useToasts(): readonly Toast[] {
  return useSyncExternalStore(
    (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    () => toasts,
  );
}
