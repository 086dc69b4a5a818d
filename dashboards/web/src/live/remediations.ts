/** Remediations as `/remediations` tells them: as of the snapshot, and the facts since. */
import type { RemediationView } from "../api/shapes";
import type { Delta, Fold } from "./channel";

/** Most remediations whose facts the page holds. */
const FACTS_HELD = 500;

export interface RemediationFact {
  type: string;
  at: string;
  incident_id: string | null;
  fact: unknown;
}

export interface Remediations {
  /** As of the snapshot; what became of them since is in `facts`, and in full behind `GET /remediations/{id}`. */
  list: readonly RemediationView[];
  /** Since the snapshot, by remediation, in order. */
  facts: ReadonlyMap<string, readonly RemediationFact[]>;
  /** The stop switch is on; `null` until it is known. */
  stopped: boolean | null;
}

export const NO_REMEDIATIONS: Remediations = { list: [], facts: new Map(), stopped: null };

export interface RemediationDelta {
  id: string | null;
  incident_id: string | null;
  fact: unknown;
}

export function remediationOf(delta: Delta): RemediationDelta {
  return delta.data as RemediationDelta;
}

export const foldRemediations: Fold<Remediations> = (state, messages) => {
  let { list, stopped } = state;
  let facts = new Map(state.facts);
  for (const message of messages) {
    if (message.kind === "snapshot") {
      const snapshot = message.snapshot as { remediations: RemediationView[]; stopped: boolean };
      list = snapshot.remediations;
      stopped = snapshot.stopped;
      facts = new Map();
      continue;
    }
    const { delta } = message;
    const { id, incident_id, fact } = remediationOf(delta);
    if (delta.type === "stop_switch") stopped = switched(fact) ?? stopped;
    if (id === null || id === undefined) continue;
    const before = facts.get(id) ?? [];
    // The last one that was told something about comes last.
    facts.delete(id);
    facts.set(id, [...before, { type: delta.type, at: delta.at, incident_id, fact }]);
  }
  for (const id of facts.keys()) {
    if (facts.size <= FACTS_HELD) break;
    facts.delete(id);
  }
  return { list, facts, stopped };
};

function switched(fact: unknown): boolean | null {
  if (typeof fact !== "object" || fact === null || !("on" in fact)) return null;
  return typeof fact.on === "boolean" ? fact.on : null;
}
