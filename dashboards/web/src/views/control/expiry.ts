/** How long something is still valid, for people. */
export interface Remaining {
  over: boolean;
  /** Little enough to hurry: under two minutes. */
  soon: boolean;
  /** `4 min 12 s`, `3 h 59 min`, or `expired`. */
  text: string;
}

const SOON_MS = 2 * 60_000;

export function remaining(until: string, now: number): Remaining {
  const left = Date.parse(until) - now;
  if (Number.isNaN(left)) return { over: false, soon: false, text: "unknown" };
  if (left <= 0) return { over: true, soon: false, text: "expired" };
  return { over: false, soon: left < SOON_MS, text: span(left) };
}

/** A span of time in its two largest units. */
export function span(ms: number): string {
  const seconds = Math.max(0, Math.ceil(ms / 1000));
  const units: [number, string][] = [
    [Math.floor(seconds / 86_400), "d"],
    [Math.floor((seconds % 86_400) / 3600), "h"],
    [Math.floor((seconds % 3600) / 60), "min"],
    [seconds % 60, "s"],
  ];
  const first = units.findIndex(([count]) => count > 0);
  if (first === -1) return "0 s";
  return units
    .slice(first, first + 2)
    .filter(([count]) => count > 0)
    .map(([count, unit]) => `${String(count)} ${unit}`)
    .join(" ");
}
