/** A silence in words. Pure. */
import type { SilenceView } from "../api/silences";
import { listed, whoIs } from "../evidence/words";

export type Criteria = Pick<SilenceView, "incidents" | "services" | "environments" | "severities" | "title">;

/** Which incidents: `Critical or warning incidents of checkout in prod`. */
export function which({ incidents, services, environments, severities, title }: Criteria): string {
  const ids = incidents.map((id) => id.slice(0, 8));
  const words = [
    listed(severities, "or"),
    ids.length === 0 ? "incidents" : `${ids.length === 1 ? "incident" : "incidents"} ${listed(ids, "or")}`,
    services.length === 0 ? "" : `of ${listed(services, "or")}`,
    environments.length === 0 ? "" : `in ${listed(environments, "or")}`,
    title === null ? "" : `with “${title}” in the title`,
  ];
  const sentence = words.filter((word) => word !== "").join(" ");
  return sentence.charAt(0).toUpperCase() + sentence.slice(1);
}

const TIME = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const DAY_AND_TIME = new Intl.DateTimeFormat(undefined, {
  day: "numeric",
  month: "short",
  hour: "2-digit",
  minute: "2-digit",
  hourCycle: "h23",
});

/** `14:05`; of another day with that day. */
export function instant(at: string, now: number): string {
  const date = new Date(at);
  if (Number.isNaN(date.getTime())) return at;
  const today = date.toDateString() === new Date(now).toDateString();
  return (today ? TIME : DAY_AND_TIME).format(date);
}

/** `until 14:05`, `from 14:05 until 16:00`, `ended 14:05 by ann`. */
export function when({ state, starts_at, ends_at, ended_by }: SilenceView, now: number): string {
  const end = instant(ends_at, now);
  switch (state) {
    case "pending":
      return `from ${instant(starts_at, now)} until ${end}`;
    case "active":
      return `until ${end}`;
    case "ended":
      return ended_by === null ? `ended ${end}` : `ended ${end} by ${whoIs(ended_by)}`;
  }
}
