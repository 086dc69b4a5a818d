import { api, body } from "./client";
import type { RemediationView, StepOutput, StepView, ToolCall } from "./shapes";

export interface StepPage {
  steps: StepView[];
  more: boolean;
  offset: number;
  limit: number;
}

export async function runs(
  query: { incident?: string; limit?: number; offset?: number },
  signal?: AbortSignal,
): Promise<StepPage> {
  return body(api.GET("/runs", { params: { query }, signal: signal ?? null }));
}

export async function step(id: string, signal?: AbortSignal): Promise<StepView> {
  return body(api.GET("/runs/{id}", { params: { path: { id } }, signal: signal ?? null }));
}

export async function remediationsOf(incident: string, signal?: AbortSignal): Promise<RemediationView[]> {
  const query = { incident, limit: 100 };
  const answer = await body(api.GET("/remediations", { params: { query }, signal: signal ?? null }));
  return answer.remediations;
}

const NOTHING: StepOutput = { triage: null, findings: [], unknown: [], proposal: null, postmortem: null };

/** What a step brought; a step that runs has brought nothing. */
export function outputOf({ output }: StepView): StepOutput {
  return typeof output === "object" && output !== null ? { ...NOTHING, ...output } : NOTHING;
}

export function toolCallsOf({ tool_calls }: StepView): ToolCall[] {
  return Array.isArray(tool_calls) ? (tool_calls as ToolCall[]) : [];
}
