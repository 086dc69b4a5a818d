/** Runs out of their steps. Pure. */
import type { LiveStep } from "../../api/shapes";
import type { Order } from "../../live/agents";

export interface Run {
  run: string;
  incident: string;
  /** By their beginning. */
  steps: readonly LiveStep[];
  status: "running" | "paused" | "success" | "failed" | "timeout" | "cancelled";
  began_at: string;
  /** `null` while it runs. */
  ended_at: string | null;
  tokens: number;
}

function statusOf(steps: readonly LiveStep[], order: Order | undefined, began: string): Run["status"] {
  const has = (status: string) => steps.some((step) => step.status === status);
  if (has("running")) return order?.verb === "pause" && order.at >= began ? "paused" : "running";
  if (has("cancelled")) return "cancelled";
  if (has("failed")) return "failed";
  if (has("timeout")) return "timeout";
  return "success";
}

/** Newest first. */
export function runsOf(steps: Iterable<LiveStep>, orders: readonly Order[]): Run[] {
  const groups = new Map<string, LiveStep[]>();
  for (const step of steps) {
    const group = groups.get(step.run);
    if (group === undefined) groups.set(step.run, [step]);
    else group.push(step);
  }
  const runs = [...groups].map(([run, group]): Run => {
    const ordered = group.sort((left, right) => Date.parse(left.created_at) - Date.parse(right.created_at));
    const incident = ordered[0]?.incident_id ?? "";
    const began = ordered[0]?.created_at ?? "";
    const order = orders.find(({ incident_id }) => incident_id === incident);
    const status = statusOf(ordered, order, began);
    const ends = ordered.map(({ finished_at }) => finished_at ?? "").sort();
    return {
      run,
      incident,
      steps: ordered,
      status,
      began_at: began,
      ended_at: status === "running" || status === "paused" ? null : (ends.at(-1) ?? null),
      tokens: ordered.reduce((sum, { tokens_used }) => sum + (tokens_used ?? 0), 0),
    };
  });
  return runs.sort((left, right) => (left.began_at < right.began_at ? 1 : -1));
}
