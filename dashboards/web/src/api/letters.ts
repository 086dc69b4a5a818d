import { api, body } from "./client";
import type { LetterView } from "./shapes";

export interface LetterPage {
  dead_letters: LetterView[];
  limit: number;
  offset: number;
  more: boolean;
}

/** A dead letter whole, as its own route answers. */
export interface Letter {
  id: string;
  status: string;
  stage: string;
  reason: string;
  detail: string;
  field: string | null;
  topic: string;
  partition: number;
  offset: number;
  received_at: string;
  attempt: number;
  headers: [string, string][];
  body_base64: string;
  facts: unknown[];
}

/** Where a letter stands: `dead-letter/PARTITION/OFFSET` is its id. */
export interface Place {
  partition: number;
  offset: number;
}

export function placeOf(id: string): Place | null {
  const found = /^dead-letter\/(\d+)\/(\d+)$/.exec(id);
  return found === null ? null : { partition: Number(found[1]), offset: Number(found[2]) };
}

export function letters(
  query: { status?: string; limit: number; offset: number },
  signal?: AbortSignal,
): Promise<LetterPage> {
  return body(api.GET("/dead-letters", { params: { query }, signal: signal ?? null }));
}

export async function letter(path: Place, signal?: AbortSignal): Promise<Letter> {
  const answer = await body(
    api.GET("/dead-letters/{partition}/{offset}", { params: { path }, signal: signal ?? null }),
  );
  return answer as unknown as Letter;
}

/** Sends the refused record once more, to who refused it. */
export async function replay(path: Place): Promise<void> {
  await api.POST("/dead-letters/{partition}/{offset}/replay", { params: { path } });
}

export async function drop(path: Place, because: string): Promise<void> {
  await api.POST("/dead-letters/{partition}/{offset}/drop", { params: { path }, body: { because } });
}
