/** Which incidents are shown: kept in the address, so that a list can be sent to somebody. Pure. */
import type { IncidentQuery } from "../../api/incidents";
import type { IncidentView } from "../../api/shapes";

export type StatusChoice = "active" | "open" | "investigating" | "resolved" | "all";
export const STATUS_CHOICES: readonly StatusChoice[] = ["active", "open", "investigating", "resolved", "all"];
export const SEVERITY_CHOICES = ["critical", "warning", "info"] as const;
export const SINCE_CHOICES = { "1h": 3_600_000, "24h": 86_400_000, "7d": 604_800_000, "30d": 2_592_000_000 } as const;

export interface Filter {
  status: StatusChoice;
  severity: string;
  service: string;
  text: string;
  since: string;
}

export function filterOf(params: URLSearchParams): Filter {
  const status = STATUS_CHOICES.find((choice) => choice === params.get("status")) ?? "active";
  return {
    status,
    severity: params.get("severity") ?? "",
    service: params.get("service") ?? "",
    text: params.get("text") ?? "",
    since: params.get("since") ?? "",
  };
}

export function paramsOf(filter: Filter): URLSearchParams {
  const params = new URLSearchParams();
  for (const [name, value] of Object.entries(filter)) {
    if (value !== "" && !(name === "status" && value === "active")) params.set(name, value);
  }
  return params;
}

/** The part of it that the gateway can do: all of it, but for ids, and states that are several. `now` in milliseconds. */
export function queryOf({ status, severity, service, text, since }: Filter, now: number): IncidentQuery {
  const from = sinceAt(since, now);
  const words = text.trim();
  return {
    ...(status === "all" || status === "active" ? {} : { status }),
    ...(severity === "" ? {} : { severity }),
    ...(service === "" ? {} : { service }),
    ...(words === "" ? {} : { text: words }),
    ...(from === null ? {} : { since: from }),
  };
}

export function hasStatus({ status }: IncidentView, choice: StatusChoice): boolean {
  if (choice === "all") return true;
  return choice === "active" ? status !== "resolved" : status === choice;
}

/** The start of the span that `since` names, `null` for all time. */
export function sinceAt(since: string, now: number): string | null {
  const span = Object.entries(SINCE_CHOICES).find(([name]) => name === since)?.[1];
  return span === undefined ? null : new Date(now - span).toISOString();
}

/** Everything but the status, for the counts beside its choices. An incident that lives on in another is not shown. */
export function matches(incident: IncidentView, filter: Filter, from: string | null): boolean {
  if (incident.merged_into !== null) return false;
  if (filter.severity !== "" && incident.severity !== filter.severity) return false;
  if (filter.service !== "" && incident.service !== filter.service) return false;
  if (from !== null && incident.created_at < from) return false;
  const words = filter.text.toLowerCase().split(/\s+/).filter(Boolean);
  if (words.length === 0) return true;
  const { id, title, service, environment, source, root_cause } = incident;
  const held = [id, title, service, environment, source, root_cause].join("\n").toLowerCase();
  return words.every((word) => held.includes(word));
}

/** Services to choose from: the one that is chosen, and those with the most incidents. A list of thousands helps nobody, and slows the page. */
export function servicesOf(incidents: readonly IncidentView[], chosen: string, most: number): string[] {
  const counts = new Map<string, number>();
  for (const { service } of incidents) {
    if (service !== null && service !== "") counts.set(service, (counts.get(service) ?? 0) + 1);
  }
  const names = [...counts].sort(([, left], [, right]) => right - left).map(([name]) => name);
  const shown = new Set([...names.slice(0, most), ...(chosen === "" ? [] : [chosen])]);
  return [...shown].sort();
}
