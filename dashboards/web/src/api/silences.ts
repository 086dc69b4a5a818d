import { api, body } from "./client";
import type { components } from "./schema";
import type { Told } from "./told";

/** For a while people get no messages about incidents that meet every criterion; of a list, one of its words is enough. */
export type SilenceView = Told<components["schemas"]["SilenceView"]>;
/** Null, for the start: now; of `ends_at` and `duration` (`30m`, `2h`) one is given. */
export type SilenceBody = Required<components["schemas"]["SilenceBody"]>;

export interface SilenceQuery {
  /** `true`: the ended ones as well. */
  all?: string;
  /** Only those that hold back what is said about this incident now. */
  incident?: string;
}

export async function silences(query: SilenceQuery, signal?: AbortSignal): Promise<SilenceView[]> {
  const answer = await body(api.GET("/silences", { params: { query }, signal: signal ?? null }));
  return answer.silences;
}

export function declareSilence(wanted: SilenceBody): Promise<SilenceView> {
  return body(api.POST("/silences", { body: wanted }));
}

export function endSilence(id: string): Promise<SilenceView> {
  return body(api.POST("/silences/{id}/end", { params: { path: { id } } }));
}
