/** An incident in a sentence. Pure. */
import type { IncidentView } from "../../api/shapes";
import { count, whoIs } from "../../evidence/words";
import { duration } from "../../ui/time";

export function headline(incident: IncidentView, now: number): string {
  const { severity, service, environment, status, created_at, resolved_at, resolved_by, firing, members } = incident;
  const place = `${service ?? "an unnamed service"} in ${environment}`;
  const began = Date.parse(created_at);
  const kind = severity.charAt(0).toUpperCase() + severity.slice(1);
  if (status === "resolved") {
    const lasted = resolved_at === null ? "" : ` after ${duration(Date.parse(resolved_at) - began)}`;
    const by = resolved_by === null ? "" : ` by ${whoIs(resolved_by)}`;
    return `${kind} incident of ${place}, resolved${by}${lasted}. ${count(members, "alert")} belonged to it.`;
  }
  const state = status === "open" ? "open" : "being investigated, open";
  return `${kind} incident of ${place}, ${state} for ${duration(Math.max(0, now - began))}. ${firing.toLocaleString("en")} of ${count(members, "alert")} still ${firing === 1 ? "fires" : "fire"}.`;
}
