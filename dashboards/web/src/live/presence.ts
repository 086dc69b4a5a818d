/**
 * Who looks at an incident, as `/incidents` tells it to all that look at the same one.
 *
 * The page says which incident it shows, again after every connect, and that it shows it no more. What it was told is
 * forgotten when nothing is told for a while or the connection is cut: somebody who is gone shall not be shown as
 * there.
 */
import type { Connection } from "./channel";

/** The server tells it every 15 s: two of them may get lost. */
export const SILENT_MS = 40_000;

/** What of a channel is used. */
export interface Line {
  get(): { connection: Connection };
  subscribe(listener: () => void): () => void;
  hear(event: string, callback: (argument: unknown) => void): () => void;
  keepSaying(event: string, argument: unknown, last: unknown): () => void;
}

const NOBODY: readonly string[] = [];

/** Those that look at one incident; it is looked at while somebody subscribes. */
export class Presence {
  private names = NOBODY;
  private silent: ReturnType<typeof setTimeout> | undefined;
  private leave: (() => void) | null = null;
  private readonly listeners = new Set<() => void>();

  constructor(
    private readonly line: Line,
    readonly incident: string,
  ) {}

  readonly get = (): readonly string[] => this.names;

  readonly subscribe = (listener: () => void): (() => void) => {
    this.listeners.add(listener);
    this.leave ??= this.look();
    return () => {
      this.listeners.delete(listener);
      if (this.listeners.size > 0) return;
      this.leave?.();
      this.leave = null;
    };
  };

  private look(): () => void {
    const deafen = this.line.hear("looking", (told) => this.told(told));
    const unwatch = this.line.subscribe(() => {
      if (this.line.get().connection !== "live") this.forget();
    });
    const takeBack = this.line.keepSaying("look", { incident: this.incident }, { incident: null });
    return () => {
      takeBack();
      unwatch();
      deafen();
      this.forget();
    };
  }

  private told(told: unknown): void {
    const looking = lookingOf(told);
    if (looking?.incident !== this.incident) return;
    clearTimeout(this.silent);
    this.silent = setTimeout(() => this.forget(), SILENT_MS);
    this.set(looking.names);
  }

  private forget(): void {
    clearTimeout(this.silent);
    this.set(NOBODY);
  }

  private set(names: readonly string[]): void {
    const same = names.length === this.names.length && names.every((name, index) => name === this.names[index]);
    if (same) return;
    this.names = names;
    for (const listener of this.listeners) listener();
  }
}

interface Looking {
  incident: string;
  names: readonly string[];
}

function lookingOf(told: unknown): Looking | null {
  if (typeof told !== "object" || told === null || !("incident" in told) || !("names" in told)) return null;
  const { incident, names } = told;
  if (typeof incident !== "string" || !Array.isArray(names)) return null;
  return { incident, names: names.filter((name) => typeof name === "string") };
}

/** Everybody but oneself, each once: somebody may look in two tabs. */
export function others(names: readonly string[], own: string | null): string[] {
  return [...new Set(names)].filter((name) => name !== own);
}
