import { useSyncExternalStore } from "react";

const listeners = new Set<() => void>();
let now = Date.now();
let timer: ReturnType<typeof setInterval> | undefined;

function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  now = Date.now();
  timer ??= setInterval(() => {
    now = Date.now();
    for (const each of listeners) each();
  }, 1_000);
  return () => {
    listeners.delete(listener);
    if (listeners.size === 0) {
      clearInterval(timer);
      timer = undefined;
    }
  };
}

/** What is told of the present: it is drawn again when that changes, looked at once a second. */
export function useClock<T extends string | number | boolean>(told: (now: number) => T): T {
  return useSyncExternalStore(subscribe, () => told(now));
}

/** The present, which goes on once a second. */
export function useNow(): number {
  return useClock((at) => at);
}
