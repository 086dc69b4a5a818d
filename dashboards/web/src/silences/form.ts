/** What somebody writes into the form of a silence, and what of it is sent. Pure. */
import { ApiError } from "../api/error";
import type { IncidentView } from "../api/shapes";
import type { SilenceBody } from "../api/silences";

export const SEVERITIES = ["critical", "warning", "info"] as const;

/** What the server takes as `duration`, and how it is said. */
export const LENGTHS: readonly (readonly [string, string])[] = [
  ["30m", "30 min"],
  ["1h", "1 h"],
  ["2h", "2 h"],
  ["8h", "8 h"],
  ["1d", "1 day"],
];
/** Instead of a length: the time in `until`. */
export const UNTIL = "until";

const FIRST_LENGTH = "2h";
/** Where somebody chooses a time, it begins with this one from now. */
const FIRST_UNTIL_MS = 2 * 3_600_000;

/** Names that were chosen, and one that is being typed, which counts as well. */
export interface Names {
  chosen: readonly string[];
  typed: string;
}

export interface Draft {
  /** Only this incident, whatever stands in the other criteria; null: what they say. */
  incident: string | null;
  services: Names;
  environments: Names;
  severities: readonly string[];
  title: string;
  /** When it begins, as `until`; empty: now. */
  from: string;
  length: string;
  /** As the browser's field has it: `2026-12-01T14:05`, in the time of this place. */
  until: string;
  comment: string;
}

export type Field = "services" | "environments" | "severities" | "title" | "from" | "until" | "comment";
export type Faults = Partial<Record<Field | "form", string>>;

function named(name: string | null): Names {
  return { chosen: name === null ? [] : [name], typed: "" };
}

/** Empty, or about an incident with its service and environment at hand. */
export function draftOf(incident: IncidentView | null, now: number): Draft {
  return {
    incident: incident?.id ?? null,
    services: named(incident?.service ?? null),
    environments: named(incident?.environment ?? null),
    severities: [],
    title: "",
    from: "",
    length: FIRST_LENGTH,
    until: fieldTime(now + FIRST_UNTIL_MS),
    comment: "",
  };
}

/** All of them, each once. */
export function namesOf({ chosen, typed }: Names): string[] {
  const last = typed.trim();
  return [...new Set(last === "" ? chosen : [...chosen, last])];
}

/** What is typed becomes one that is chosen. */
export function choose(names: Names): Names {
  return { chosen: namesOf(names), typed: "" };
}

/** What is sent, or what keeps it from being sent. How long texts may be and how late the end, the server says. */
export function check(draft: Draft, now: number): { body: SilenceBody } | { faults: Faults } {
  const only = draft.incident;
  const services = only === null ? namesOf(draft.services) : [];
  const environments = only === null ? namesOf(draft.environments) : [];
  const severities = only === null ? [...draft.severities] : [];
  const words = only === null ? draft.title.trim() : "";
  const comment = draft.comment.trim();
  const start = draft.from === "" ? null : Date.parse(draft.from);
  const end = draft.length === UNTIL ? Date.parse(draft.until) : null;

  const faults: Faults = {};
  if (only === null && services.length + environments.length + severities.length === 0 && words === "") {
    faults.services = "Say which incidents: a service, an environment, a severity or words of the title.";
  }
  if (end !== null && Number.isNaN(end)) faults.until = "Say until when.";
  else if (end !== null && end <= now) faults.until = "This time is past.";
  else if (end !== null && start !== null && end <= start) faults.until = "This is before it begins.";
  if (start !== null && Number.isNaN(start)) faults.from = "Say from when, or leave it empty.";
  if (comment === "") faults.comment = "Say why, for whoever wonders.";
  if (Object.keys(faults).length > 0) return { faults };

  return {
    body: {
      incidents: only === null ? [] : [only],
      services,
      environments,
      severities,
      title: words === "" ? null : words,
      starts_at: start === null ? null : new Date(start).toISOString(),
      ends_at: end === null ? null : new Date(end).toISOString(),
      duration: end === null ? draft.length : null,
      comment,
    },
  };
}

/** Names of the server's fields, where the form has another one. */
const FIELDS: Record<string, Field> = {
  services: "services",
  environments: "environments",
  severities: "severities",
  title: "title",
  starts_at: "from",
  ends_at: "until",
  duration: "until",
  comment: "comment",
};

/** A refusal at the field that it is about, or below the form. */
export function faultsOf(error: unknown, message: string): Faults {
  const field = error instanceof ApiError && error.field !== null ? FIELDS[error.field] : undefined;
  return { [field ?? "form"]: message };
}

/** As the browser's field for a time has it. */
export function fieldTime(at: number): string {
  const date = new Date(at);
  const two = (number: number) => String(number).padStart(2, "0");
  const day = `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
  return `${day}T${two(date.getHours())}:${two(date.getMinutes())}`;
}
