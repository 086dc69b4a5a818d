import type { QueryClient } from "@tanstack/react-query";

import { api, setCsrf } from "../api/client";
import { connectLive, forgetLive } from "../live/channels";
import { meQuery } from "./useMe";

/** Opens a session with a token. The token is used for this one request and kept nowhere. */
export async function signIn(client: QueryClient, token: string): Promise<void> {
  const answer = await api.POST("/sessions", { headers: { Authorization: `Bearer ${token}` } });
  setCsrf(answer.data?.csrf ?? null);
  forgetAll(client);
  await client.fetchQuery({ ...meQuery, staleTime: 0 });
  connectLive();
}

export async function signOut(client: QueryClient): Promise<void> {
  await api.DELETE("/sessions/current");
  signedOut(client);
  await client.refetchQueries({ queryKey: meQuery.queryKey });
  connectLive();
}

/** The session is over, whoever ended it. */
export function signedOut(client: QueryClient): void {
  setCsrf(null);
  forgetAll(client);
  client.setQueryData(meQuery.queryKey, null);
}

/** Drops what was read for whoever was here; who is here is asked anew by itself. */
function forgetAll(client: QueryClient): void {
  forgetLive();
  client.removeQueries({ predicate: ({ queryKey }) => queryKey[0] !== meQuery.queryKey[0] });
}
