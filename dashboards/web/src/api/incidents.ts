import { api, body } from "./client";
import type { IncidentDetail, IncidentPage, SimilarAnswer } from "./shapes";

/** What the gateway can filter by. */
export interface IncidentQuery {
  status?: string;
  severity?: string;
  service?: string;
  /** Words. */
  text?: string;
  /** A time of RFC 3339. */
  since?: string;
  limit?: number;
  offset?: number;
}

export async function incidents(query: IncidentQuery, signal?: AbortSignal): Promise<IncidentPage> {
  return body(api.GET("/incidents", { params: { query }, signal: signal ?? null }));
}

export async function incident(id: string, signal?: AbortSignal): Promise<IncidentDetail> {
  const answer = await body(api.GET("/incidents/{id}", { params: { path: { id } }, signal: signal ?? null }));
  return answer as IncidentDetail;
}

export async function similar(id: string, signal?: AbortSignal): Promise<SimilarAnswer> {
  return body(
    api.GET("/incidents/{id}/similar", { params: { path: { id }, query: { limit: 5 } }, signal: signal ?? null }),
  );
}

export async function acknowledge(id: string): Promise<void> {
  await api.POST("/incidents/{id}/acknowledge", { params: { path: { id } } });
}

export async function resolve(id: string, resolution: string): Promise<void> {
  await api.POST("/incidents/{id}/resolve", { params: { path: { id } }, body: { resolution } });
}

export type Verb = "pause" | "resume" | "cancel" | "rerun";

export async function run(id: string, verb: Verb): Promise<void> {
  await api.POST("/incidents/{id}/run", { params: { path: { id } }, body: { verb } });
}
