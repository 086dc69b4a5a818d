/** Shapes of answers and live messages that `docs/openapi.json` does not spell out. */
import type { components } from "./schema";
import type { Told } from "./told";

export type Role = components["schemas"]["Role"];
export type StepView = Told<components["schemas"]["StepView"]>;
export type RemediationView = Told<components["schemas"]["RemediationView"]>;
export type SimilarAnswer = components["schemas"]["SimilarAnswer"];
export type OwnSession = components["schemas"]["OwnSession"];
export type LetterView = components["schemas"]["LetterView"];
export type IncidentView = Told<components["schemas"]["IncidentView"]>;
export type IncidentDetail = Omit<Told<components["schemas"]["IncidentDetail"]>, "events"> & { events: EventView[] };
/** The payload is the record on the log; what is used of it. */
export type EventView = Omit<components["schemas"]["EventView"], "payload"> & {
  payload: { fact: Fact; incident: { severity?: string } };
};
export type Me = Told<components["schemas"]["MeView"]>;
export type SqlAnswer = components["schemas"]["QueryView"];
export type PipelineView = Told<components["schemas"]["PipelineView"]>;
export type StageView = Told<components["schemas"]["StageState"]>;
export type StageCounts = components["schemas"]["StageCounts"];
export type PartitionView = Told<components["schemas"]["PlaceView"]>;
export type SinkView = Told<components["schemas"]["SinkPlaces"]>;
export type SenderView = Told<components["schemas"]["SenderState"]>;
/** Why a signal belongs to an incident. */
export type Member = Told<components["schemas"]["MemberView"]>;

export type Severity = "info" | "warning" | "critical";
export type Status = "open" | "investigating" | "resolved";

export interface Suspect {
  signal: string;
  source: string;
  title: string;
  service: string;
  at: string;
  /** From the change to the first alert that named it. */
  before_ms: number;
}

export interface Citation {
  id: string;
  source: string;
  query: string;
  from: string;
  to: string;
  excerpt: string;
}

export interface Finding {
  kind: string;
  summary: string;
  facts: Record<string, unknown>;
  citations: Citation[];
}

export interface Statement {
  text: string;
  citations: string[];
}

export interface Moment extends Statement {
  at: string;
}

export interface Postmortem {
  root_cause: Statement;
  impact: Statement;
  timeline: Moment[];
  resolution: Statement;
  follow_ups: Statement[];
  citations: Citation[];
}

export type Fact =
  | { type: "opened" | "signal_joined" | "member_changed"; member: Member }
  | { type: "escalated"; from: Severity }
  | { type: "resolved" }
  | { type: "reopened"; episode: string }
  | { type: "absorbed"; other: string; members: Member[] }
  | { type: "merged"; into: string }
  | { type: "suspect_found"; suspect: Suspect }
  | { type: "acknowledged"; by: string }
  | { type: "finding_added"; by: string; finding: Finding }
  | { type: "postmortem_added"; by: string; postmortem: Postmortem }
  | { type: "closed"; by: string; resolution: string };

export interface IncidentPage {
  incidents: IncidentView[];
  limit: number;
  offset: number;
  more: boolean;
}

export interface ToolCall {
  tool: string;
  arguments: unknown;
  outcome: { Ok: string } | { Err: string };
  duration_ms: number;
  after_ms?: number;
}

export interface StepOutput {
  triage: { severity: Severity; action: string; why: string } | null;
  findings: Finding[];
  unknown: string[];
  proposal: Record<string, unknown> | null;
  postmortem: Postmortem | null;
}

/** A step as `/agents` tells it: without what it was given and what it brought. */
export type LiveStep = Omit<StepView, "input" | "output" | "tool_calls">;
