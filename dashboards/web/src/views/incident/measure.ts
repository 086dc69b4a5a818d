/** What the findings say in numbers. Pure. */
import type { EventView, Finding } from "../../api/shapes";

export interface Point {
  at: number;
  value: number;
}

const PERCENT = new Set(["memory", "cpu", "errors", "availability"]);

/** The findings of an incident, the newest of each sentence. */
export function findingsOf(events: readonly EventView[]): { by: string; finding: Finding }[] {
  const found = new Map<string, { by: string; finding: Finding }>();
  for (const { payload } of events) {
    const { fact } = payload;
    if (fact.type === "finding_added") found.set(`${fact.finding.kind} ${fact.finding.summary}`, fact);
  }
  return [...found.values()];
}

export function isMeasured({ kind }: Finding): boolean {
  return kind === "impact" || kind === "metric_change" || kind === "traffic_before_symptom";
}

function number(value: unknown): number | null {
  const parsed = typeof value === "string" && value !== "" ? Number(value) : value;
  return typeof parsed === "number" && Number.isFinite(parsed) ? parsed : null;
}

function instant(value: unknown): number | null {
  if (typeof value === "string" && Number.isNaN(Number(value))) {
    const at = Date.parse(value);
    return Number.isNaN(at) ? null : at;
  }
  const seconds = number(value);
  // Seconds since 1970 as Prometheus tells them, or milliseconds.
  return seconds === null ? null : seconds < 1e11 ? seconds * 1_000 : seconds;
}

function pointOf(value: unknown): Point | null {
  let pair: [unknown, unknown];
  if (Array.isArray(value) && value.length === 2) pair = [value[0], value[1]];
  else if (typeof value === "object" && value !== null && "at" in value && "value" in value) pair = [value.at, value.value];
  else return null;
  const at = instant(pair[0]);
  const level = number(pair[1]);
  return at === null || level === null ? null : { at, value: level };
}

/** The curve that a finding holds, if it holds one. */
export function pointsOf({ facts }: Finding): Point[] {
  for (const value of Object.values(facts)) {
    if (!Array.isArray(value) || value.length < 2) continue;
    const points = value.map(pointOf);
    if (points.every((point) => point !== null)) return points;
  }
  return [];
}

function shown(value: number, symptom: unknown): string {
  if (typeof symptom === "string" && PERCENT.has(symptom)) return `${(value * 100).toFixed(1)} %`;
  if (symptom === "latency") return `${value.toPrecision(3)} s`;
  return value.toLocaleString("en", { maximumFractionDigits: 2 });
}

const NAMES: Record<string, string> = {
  value: "Now",
  usual: "Usual",
  level: "Since then",
  peak: "At most",
  warning: "Warning from",
  critical: "Critical from",
};

/** Its numbers with names and units, and when it began. */
export function rowsOf({ facts }: Finding): { name: string; value: string }[] {
  const rows = Object.entries(NAMES).flatMap(([key, name]) => {
    const value = number(facts[key]);
    return value === null ? [] : [{ name, value: shown(value, facts["symptom"]) }];
  });
  const factor = number(facts["factor"]);
  if (factor !== null) rows.push({ name: "Times the usual", value: `${factor.toFixed(1)} ×` });
  return rows;
}

export function onsetOf({ facts }: Finding): string | null {
  return typeof facts["onset"] === "string" ? facts["onset"] : null;
}
