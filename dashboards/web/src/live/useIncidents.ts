import { useQuery } from "@tanstack/react-query";
import { useMemo } from "react";

import { incidents } from "../api/incidents";
import { incidentsLive } from "./channels";
import { type Incidents, NO_INCIDENTS, foldIncidents } from "./incidents";
import { useLive } from "./useLive";

/** How often is asked where nothing is told live. */
export const ASK_MS = 5_000;
const PAGE = 200;

export interface KnownIncidents {
  ready: boolean;
  state: Incidents;
  error: unknown;
}

/** The newest incidents: as told live, or, until that works (it may be switched off), as asked for every few seconds. */
export function useIncidents(): KnownIncidents {
  const live = useLive(incidentsLive);
  const asked = useQuery({
    queryKey: ["incidents", "asked"],
    queryFn: ({ signal }) => incidents({ limit: PAGE }, signal),
    enabled: !live.ready,
    refetchInterval: ASK_MS,
  });
  const page = asked.data;
  const state = useMemo(
    () => (page === undefined ? NO_INCIDENTS : foldIncidents(NO_INCIDENTS, [{ kind: "snapshot", snapshot: page }])),
    [page],
  );
  if (live.ready) return { ready: true, state: live.state, error: null };
  return { ready: page !== undefined, state, error: asked.error };
}
