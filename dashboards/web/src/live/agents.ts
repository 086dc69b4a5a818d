/** Steps of investigations as `/agents` tells them, and the orders given to them. */
import type { LiveStep } from "../api/shapes";
import type { Delta, Fold } from "./channel";

/** Most steps that the page holds: some 150 investigations. */
export const STEPS_HELD = 1_000;
/** Most orders that the page holds. */
const ORDERS_HELD = 200;

export interface Order {
  incident_id: string;
  run: string | null;
  verb: string;
  by: string;
  at: string;
}

export interface Steps {
  byId: ReadonlyMap<string, LiveStep>;
  /** Newest first. */
  orders: readonly Order[];
}

export const NO_STEPS: Steps = { byId: new Map(), orders: [] };

type StepNews = Omit<LiveStep, "attempt" | "created_at"> & Partial<Pick<LiveStep, "attempt" | "created_at">>;

export interface AgentDelta {
  incident_id: string;
  run: string | null;
  /** A step that has ended says nothing of its beginning. */
  step: StepNews | null;
  verb?: string;
  by?: string;
}

export function agentOf(delta: Delta): AgentDelta {
  return delta.data as AgentDelta;
}

export const foldSteps: Fold<Steps> = (state, messages) => {
  let byId = new Map(state.byId);
  let orders = state.orders;
  for (const message of messages) {
    if (message.kind === "snapshot") {
      const { steps } = message.snapshot as { steps: LiveStep[] };
      byId = new Map(steps.map((step) => [step.id, step]));
      continue;
    }
    const { delta } = message;
    const { incident_id, run, step, verb, by } = agentOf(delta);
    if (step !== null) byId.set(step.id, joined(byId.get(step.id), step, delta.at));
    if (delta.type === "ordered" && verb !== undefined) {
      orders = [{ incident_id, run, verb, by: by ?? "", at: delta.at }, ...orders].slice(0, ORDERS_HELD);
    }
  }
  if (byId.size > STEPS_HELD) {
    const newest = [...byId.values()].sort((left, right) => (left.created_at < right.created_at ? 1 : -1));
    byId = new Map(newest.slice(0, STEPS_HELD).map((step) => [step.id, step]));
  }
  return { byId, orders };
};

function joined(known: LiveStep | undefined, news: StepNews, at: string): LiveStep {
  const attempt = news.attempt ?? known?.attempt ?? 1;
  // Of a beginning and an end of the same attempt the end counts, whichever came last.
  if (known?.finished_at != null && news.finished_at == null && attempt <= known.attempt) return known;
  return { ...news, attempt, created_at: news.created_at ?? known?.created_at ?? at };
}
