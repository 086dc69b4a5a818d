/** Incidents as `/incidents` tells them: the newest, each as of its newest revision. */
import type { Fact, IncidentView } from "../api/shapes";
import type { Delta, Fold, Message } from "./channel";

/**
 * Most incidents that the page holds. More would make every frame of a storm sort more; older ones are read through
 * the REST API when asked for.
 */
export const HELD = 2_000;

export interface Incidents {
  /** Newest first. */
  list: readonly IncidentView[];
  byId: ReadonlyMap<string, IncidentView>;
  /** There are older ones than these. */
  more: boolean;
  /** Between now and then the list has all there are; before, only those that changed lately. */
  completeSince: string | null;
}

export const NO_INCIDENTS: Incidents = { list: [], byId: new Map(), more: false, completeSince: null };

interface Snapshot {
  incidents: IncidentView[];
  more: boolean;
}

export interface IncidentDelta {
  incident: IncidentView;
  fact: Fact;
}

export function incidentOf(delta: Delta): IncidentDelta {
  return delta.data as IncidentDelta;
}

function newestFirst(left: IncidentView, right: IncidentView): number {
  if (left.created_at !== right.created_at) return left.created_at < right.created_at ? 1 : -1;
  return left.id < right.id ? -1 : left.id > right.id ? 1 : 0;
}

export const foldIncidents: Fold<Incidents> = (state, messages) => foldUpTo(state, messages, HELD);

export function foldUpTo(state: Incidents, messages: readonly Message[], held: number): Incidents {
  let byId = new Map(state.byId);
  let { more, completeSince } = state;
  let changed = false;
  for (const message of messages) {
    if (message.kind === "snapshot") {
      const snapshot = message.snapshot as Snapshot;
      byId = new Map(snapshot.incidents.map((incident) => [incident.id, incident]));
      more = snapshot.more;
      completeSince = more ? oldest(snapshot.incidents) : null;
      changed = true;
      continue;
    }
    const { incident } = incidentOf(message.delta);
    const known = byId.get(incident.id);
    if (known !== undefined && known.revision >= incident.revision) continue;
    byId.set(incident.id, incident);
    changed = true;
  }
  if (!changed) return state;
  const list = [...byId.values()].sort(newestFirst);
  if (list.length > held) {
    for (const incident of list.splice(held)) byId.delete(incident.id);
    more = true;
    const last = list.at(-1)?.created_at ?? null;
    if (completeSince === null || (last !== null && last > completeSince)) completeSince = last;
  }
  return { list, byId, more, completeSince };
}

function oldest(incidents: readonly IncidentView[]): string | null {
  return incidents.reduce<string | null>(
    (least, { created_at }) => (least === null || created_at < least ? created_at : least),
    null,
  );
}
