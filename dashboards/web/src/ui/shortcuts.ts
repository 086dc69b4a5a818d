/** Keys for the whole page, single ones and sequences of two (`g i`), and the list of them for the help. */
import { useEffect, useEffectEvent, useSyncExternalStore } from "react";

export interface Shortcut {
  /** `?`, `/`, `j`, `g i`, `mod+k`. */
  keys: string;
  label: string;
}

interface Registered extends Shortcut {
  run: () => void;
}

/** Between the two keys of a sequence. */
const SEQUENCE_MS = 1_200;

let registered: readonly Registered[] = [];
const listeners = new Set<() => void>();
let prefix: { key: string; at: number } | null = null;

function set(changed: readonly Registered[]): void {
  registered = changed;
  for (const listener of listeners) listener();
}

function typing(target: EventTarget | null): boolean {
  return target instanceof HTMLElement && target.closest("input, textarea, select, [contenteditable]") !== null;
}

function onKeyDown(event: KeyboardEvent): void {
  if (event.defaultPrevented || event.isComposing) return;
  const mod = event.ctrlKey || event.metaKey;
  const named = mod ? `mod+${event.key.toLowerCase()}` : event.key;
  if (event.altKey || (!mod && typing(event.target))) return;
  // A dialog is in front: its own keys alone.
  if (document.querySelector("dialog[open]") !== null) return;
  const sequence = prefix !== null && event.timeStamp - prefix.at < SEQUENCE_MS ? `${prefix.key} ${named}` : null;
  prefix = null;
  // The newest registration wins: a view's over the page's.
  const found = registered.findLast(({ keys }) => keys === sequence) ?? registered.findLast(({ keys }) => keys === named);
  if (found !== undefined) {
    event.preventDefault();
    found.run();
  } else if (registered.some(({ keys }) => keys.startsWith(`${named} `))) {
    prefix = { key: named, at: event.timeStamp };
  }
}

export function useShortcut(keys: string, label: string, run: () => void): void {
  const pressed = useEffectEvent(run);
  useEffect(() => {
    const own: Registered = { keys, label, run: () => pressed() };
    if (registered.length === 0) window.addEventListener("keydown", onKeyDown);
    set([...registered, own]);
    return () => {
      set(registered.filter((one) => one !== own));
      if (registered.length === 0) window.removeEventListener("keydown", onKeyDown);
    };
  }, [keys, label]);
}

function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

export function useShortcuts(): readonly Shortcut[] {
  return useSyncExternalStore(subscribe, () => registered);
}
