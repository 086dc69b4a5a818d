import { api, body } from "./client";
import type { RemediationView } from "./shapes";

export interface RemediationPage {
  remediations: RemediationView[];
  limit: number;
  offset: number;
  more: boolean;
}

export interface RemediationQuery {
  incident?: string;
  status?: string;
  limit?: number;
  offset?: number;
}

export function remediations(query: RemediationQuery, signal?: AbortSignal): Promise<RemediationPage> {
  return body(api.GET("/remediations", { params: { query }, signal: signal ?? null }));
}

export function remediation(id: string, signal?: AbortSignal): Promise<RemediationView> {
  return body(api.GET("/remediations/{id}", { params: { path: { id } }, signal: signal ?? null }));
}

/** Says yes to the plan that was shown, and to no other. */
export async function approve(id: string, planHash: string): Promise<void> {
  await api.POST("/remediations/{id}/approve", { params: { path: { id } }, body: { plan_hash: planHash } });
}

export async function deny(id: string, reason: string): Promise<void> {
  await api.POST("/remediations/{id}/deny", { params: { path: { id } }, body: { reason } });
}

export function stopSwitch(signal?: AbortSignal): Promise<{ on: boolean }> {
  return body(api.GET("/remediation/stop", { signal: signal ?? null }));
}

export async function turnStop(on: boolean): Promise<void> {
  await api.POST("/remediation/stop", { body: { on } });
}
