/** The story of an incident from its events, its steps and its remediations, in order of time. Pure. */
import type { EventView, Fact, Finding, IncidentDetail, Member, RemediationView, StepView } from "../../api/shapes";
import { agentName, findingName, ruleName, whoIs } from "../../evidence/words";
import { duration } from "../../ui/time";

export type Track = "alerts" | "changes" | "logs" | "agents" | "actions" | "people";
export const TRACKS: Record<Track, string> = {
  alerts: "Alerts",
  changes: "Changes",
  logs: "Logs and metrics",
  agents: "Agents",
  actions: "Remediation",
  people: "State and people",
};

export interface Entry {
  key: string;
  at: string;
  track: Track;
  /** In a word or two. */
  what: string;
  text: string;
  /** Why: the reason of a grouping, the result of a step. */
  why: string | null;
  finding: Finding | null;
}

/** Why a member belongs to the incident, in a sentence. */
export function reasonOf(member: Member, titleOf: (episode: string) => string | null): string {
  const rule = ruleName(member.rule);
  if (member.linked_to === null) return `${rule} (${member.rule})`;
  const other = titleOf(member.linked_to);
  const apart = member.apart_ms === null ? "" : `, ${duration(member.apart_ms)} apart`;
  const key = member.key === null ? "" : ` ${member.key}`;
  return `${rule}${key} (${member.rule}), linked to ${other === null ? "another alert" : `“${other}”`}${apart}`;
}

export function titles(members: readonly Member[]): (episode: string) => string | null {
  const byEpisode = new Map(members.map((member) => [member.episode, member.title]));
  return (episode) => byEpisode.get(episode) ?? null;
}

function text(value: unknown): string | null {
  return typeof value === "string" ? value : null;
}

/** When what was found began, where the finding says so. */
function beganAt({ facts }: Finding): string | null {
  return text(facts["onset"]) ?? text(facts["first_at"]);
}

const LOG_KINDS = new Set(["error_lines", "out_of_memory", "metric_change", "traffic_before_symptom"]);

function ofFact(event: EventView, fact: Fact, titleOf: (episode: string) => string | null): Omit<Entry, "key">[] {
  const entry = (track: Track, what: string, said: string, why: string | null = null): Omit<Entry, "key"> => ({
    at: event.at,
    track,
    what,
    text: said,
    why,
    finding: null,
  });
  switch (fact.type) {
    case "opened":
      return [entry("alerts", "Opened by an alert", fact.member.title, `from ${fact.member.source}`)];
    case "signal_joined":
      return [entry("alerts", "Alert joined", fact.member.title, reasonOf(fact.member, titleOf))];
    case "member_changed": {
      const what = fact.member.ends_at === null ? "Alert changed" : "Alert over";
      return [entry("alerts", what, fact.member.title, `now ${fact.member.severity}`)];
    }
    case "absorbed":
      return [
        entry("people", "Absorbed another incident", `with ${fact.members.length} alerts`),
        ...fact.members.map((member) => ({
          ...entry("alerts", "Alert joined", member.title, reasonOf(member, titleOf)),
          at: member.starts_at,
        })),
      ];
    case "escalated":
      return [entry("people", "Escalated", `from ${fact.from} to ${event.payload.incident.severity ?? "more"}`)];
    case "resolved":
      return [entry("people", "Resolved", "every alert is over")];
    case "reopened":
      return [entry("people", "Opened again", titleOf(fact.episode) ?? "an alert fires again")];
    case "merged":
      return [entry("people", "Merged", "it lives on in another incident")];
    case "acknowledged":
      return [entry("people", "Acknowledged", `${whoIs(fact.by)} took it on`)];
    case "closed":
      return [entry("people", "Closed", fact.resolution, `by ${whoIs(fact.by)}`)];
    case "suspect_found": {
      const { suspect } = fact;
      const why = `from ${suspect.source}, ${duration(suspect.before_ms)} before the first alert of ${suspect.service}`;
      return [{ ...entry("changes", "Change", suspect.title, why), at: suspect.at }];
    }
    case "finding_added": {
      const { finding } = fact;
      const began = LOG_KINDS.has(finding.kind) ? beganAt(finding) : null;
      const track = began === null ? "agents" : "logs";
      const found = { ...entry(track, findingName(finding.kind), finding.summary, `found by ${whoIs(fact.by)}`), finding };
      return [began === null ? found : { ...found, at: began }];
    }
    case "postmortem_added":
      return [entry("agents", "Postmortem written", fact.postmortem.root_cause.text, `by ${whoIs(fact.by)}`)];
    default:
      // A fact that is younger than this page.
      return [entry("people", event.fact.replaceAll("_", " "), "")];
  }
}

function ofStep(step: StepView): Entry {
  const took = step.duration_ms == null ? "" : ` in ${duration(step.duration_ms)}`;
  const said =
    step.status === "running"
      ? "is at work"
      : step.status === "success"
        ? `done${took}`
        : `${step.status}${step.error == null ? "" : `: ${step.error}`}`;
  return {
    key: `step ${step.id}`,
    at: step.finished_at ?? step.created_at,
    track: "agents",
    what: agentName(step.agent),
    text: said,
    why: null,
    finding: null,
  };
}

const DONE: Record<string, string> = {
  waiting: "waits for approval",
  granted: "granted",
  denied: "denied",
  expired: "expired: nobody decided in time",
  attempted: "is being carried out",
  executed: "carried out",
  verified: "carried out; it helped",
  unverified: "carried out; it is not seen to help",
  rolled_back: "taken back",
  failed: "failed",
};

function ofRemediation(remediation: RemediationView): Entry[] {
  const { id, action, target, namespace, status } = remediation;
  const place = `${action} ${target}${namespace == null ? "" : ` in ${namespace}`}`;
  const base = { track: "actions" as const, finding: null };
  const proposed: Entry = {
    ...base,
    key: `proposed ${id}`,
    at: remediation.created_at,
    what: "Proposed",
    text: place,
    why: `${remediation.reason} (${whoIs(remediation.proposed_by)})`,
  };
  const now = DONE[status];
  if (now === undefined) return [proposed];
  const by = remediation.decided_by == null ? null : `decided by ${whoIs(remediation.decided_by)}`;
  const why = [by, remediation.note].filter(Boolean).join("; ");
  return [
    proposed,
    {
      ...base,
      key: `now ${id}`,
      at: remediation.updated_at,
      what: "Remediation",
      text: `${place}: ${now}`,
      why: why === "" ? null : why,
    },
  ];
}

export function timelineOf(
  { members, events }: IncidentDetail,
  steps: readonly StepView[],
  remediations: readonly RemediationView[],
): Entry[] {
  const titleOf = titles(members);
  const facts = events.flatMap((event) =>
    ofFact(event, event.payload.fact, titleOf).map((entry, index) => ({ ...entry, key: `${event.revision} ${index}` })),
  );
  const entries = [...facts, ...steps.map(ofStep), ...remediations.flatMap(ofRemediation)];
  return entries.sort((left, right) => Date.parse(left.at) - Date.parse(right.at));
}
