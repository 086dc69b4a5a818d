import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useEffect, useRef } from "react";

import { incident as read } from "../../api/incidents";
import { remediationsOf, runs } from "../../api/runs";
import { agentOf } from "../../live/agents";
import { agentsLive, incidentsLive, remediationsLive } from "../../live/channels";
import { incidentOf } from "../../live/incidents";
import { remediationOf } from "../../live/remediations";
import { ASK_MS } from "../../live/useIncidents";
import { useDeltas, useLive } from "../../live/useLive";

/** At most this often is the whole read again, however fast it changes. */
const AGAIN_MS = 1_000;

/** Calls back soon after the first call, once for all calls until then. */
function useSoon(callback: () => void): () => void {
  const timer = useRef<ReturnType<typeof setTimeout> | undefined>(undefined);
  useEffect(() => () => clearTimeout(timer.current), []);
  return () => {
    timer.current ??= setTimeout(() => {
      timer.current = undefined;
      callback();
    }, AGAIN_MS);
  };
}

/** An incident with its story, steps and remediations, read again when the live connection tells of something new. */
export function useIncident(id: string) {
  const client = useQueryClient();
  const incidents = useLive(incidentsLive);
  const refetchInterval = incidents.connection === "live" ? (false as const) : ASK_MS;
  const detail = useQuery({ queryKey: ["incident", id], queryFn: ({ signal }) => read(id, signal), refetchInterval });
  const steps = useQuery({
    queryKey: ["runs", "of", id],
    queryFn: ({ signal }) => runs({ incident: id, limit: 200 }, signal),
    refetchInterval,
  });
  const remediations = useQuery({
    queryKey: ["remediations", "of", id],
    queryFn: ({ signal }) => remediationsOf(id, signal),
    refetchInterval,
  });
  useLive(agentsLive);
  useLive(remediationsLive);
  const live = incidents.state.byId.get(id);

  const readDetail = useSoon(() => void client.invalidateQueries({ queryKey: ["incident", id] }));
  const readSteps = useSoon(() => void client.invalidateQueries({ queryKey: ["runs", "of", id] }));
  const readRemediations = useSoon(() => void client.invalidateQueries({ queryKey: ["remediations", "of", id] }));
  useDeltas(incidentsLive, (deltas) => {
    if (deltas.some((delta) => incidentOf(delta).incident.id === id)) readDetail();
  });
  useDeltas(agentsLive, (deltas) => {
    if (deltas.some((delta) => agentOf(delta).incident_id === id)) readSteps();
  });
  useDeltas(remediationsLive, (deltas) => {
    if (deltas.some((delta) => remediationOf(delta).incident_id === id)) readRemediations();
  });

  // The tables lag behind the log by a moment: what was read may be from before what was told.
  const told = live?.revision ?? 0;
  const has = detail.data?.incident.revision;
  const at = detail.dataUpdatedAt;
  useEffect(() => {
    if (has === undefined || has >= told) return;
    const timer = setTimeout(() => void client.invalidateQueries({ queryKey: ["incident", id] }), AGAIN_MS / 2);
    return () => clearTimeout(timer);
  }, [client, id, has, told, at]);

  const incident = live !== undefined && has !== undefined && told > has ? live : detail.data?.incident;
  return { detail, incident, steps, remediations };
}
