/** Instants and durations in words. Pure. */

const UNITS: readonly (readonly [string, number])[] = [
  ["d", 86_400_000],
  ["h", 3_600_000],
  ["min", 60_000],
  ["s", 1_000],
];

/** Its two largest units: `2 h 5 min`. */
export function duration(ms: number): string {
  const absolute = Math.abs(ms);
  if (absolute < 1_000) return `${Math.round(absolute)} ms`;
  if (absolute < 10_000) return `${(absolute / 1_000).toFixed(1).replace(/\.0$/, "")} s`;
  const index = UNITS.findIndex(([, size]) => absolute >= size);
  const [unit, size] = UNITS[index] ?? ["s", 1_000];
  const whole = Math.floor(absolute / size);
  const next = UNITS[index + 1];
  const rest = next === undefined ? 0 : Math.floor((absolute - whole * size) / next[1]);
  return rest === 0 || next === undefined ? `${whole} ${unit}` : `${whole} ${unit} ${rest} ${next[0]}`;
}

/** `now`, `5 min ago`, `in 2 h`; its largest unit alone. */
export function relative(at: number, now: number): string {
  const ms = now - at;
  const absolute = Math.abs(ms);
  if (absolute < 2_000) return "now";
  const [unit, size] = UNITS.find(([, least]) => absolute >= least) ?? ["s", 1_000];
  const words = `${Math.floor(absolute / size)} ${unit}`;
  return ms < 0 ? `in ${words}` : `${words} ago`;
}

const ABSOLUTE = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "long", hourCycle: "h23" });
const CLOCK = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });

function valid(at: string): Date | null {
  const date = new Date(at);
  return Number.isNaN(date.getTime()) ? null : date;
}

export function absolute(at: string): string {
  const date = valid(at);
  return date === null ? at : ABSOLUTE.format(date);
}

export function clock(at: string): string {
  const date = valid(at);
  return date === null ? at : CLOCK.format(date);
}
