/**
 * The typed client of the REST API. A refusal is thrown as [`ApiError`]; 401 also tells the session, which shows the
 * sign-in page. The value for `X-Aegis-Csrf` is kept in memory only; the cookie is the browser's.
 */
import createClient, { type Middleware } from "openapi-fetch";

import { ApiError, problemOf } from "./error";
import type { paths } from "./schema";
import type { Told } from "./told";

let csrf: string | null = null;
let onSignedOut: () => void = () => undefined;

export function setCsrf(value: string | null): void {
  csrf = value;
}

/** Called whenever an answer is 401. */
export function whenSignedOut(callback: () => void): void {
  onSignedOut = callback;
}

const CHANGING = new Set(["POST", "PUT", "PATCH", "DELETE"]);

const session: Middleware = {
  onRequest({ request }) {
    if (csrf !== null && CHANGING.has(request.method)) request.headers.set("X-Aegis-Csrf", csrf);
    return request;
  },
  async onResponse({ request, response }) {
    if (response.ok) return response;
    const signingIn = request.method === "POST" && new URL(request.url).pathname.endsWith("/sessions");
    if (response.status === 401 && !signingIn) onSignedOut();
    throw await problemOf(response);
  },
  onError({ error }) {
    if (error instanceof DOMException && error.name === "AbortError") return error;
    return new ApiError(0, "No answer", error instanceof Error ? error.message : null);
  },
};

export const api = createClient<paths>({ baseUrl: "/api/v1", credentials: "same-origin" });
api.use(session);

/** The body of an answer. Refusals were thrown before, so there is one. */
export async function body<T>(answer: Promise<{ data?: T }>): Promise<Told<T>> {
  const { data } = await answer;
  return data as Told<T>;
}
