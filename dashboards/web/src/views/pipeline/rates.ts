import type { PipelineView, StageCounts } from "../../api/shapes";

/** Items that a stage takes and rows that it writes, per second, between two samples. */
export interface Rate {
  in: number;
  out: number;
}

/** Shorter spans make the figure jump. */
const SHORTEST_MS = 500;

/**
 * Rates by stage. Counts are since the process started: where one fell, the process was started anew, and there is no
 * rate until the next sample.
 */
export function stageRates(before: PipelineView | null, now: PipelineView): Map<string, Rate> {
  const rates = new Map<string, Rate>();
  const elapsed = before === null ? 0 : Date.parse(now.at) - Date.parse(before.at);
  if (before === null || !(elapsed >= SHORTEST_MS)) return rates;
  for (const stage of now.stages) {
    const earlier = before.stages.find((other) => other.stage === stage.stage);
    if (earlier === undefined) continue;
    const taken = stage.counts.items_in - earlier.counts.items_in;
    const written = writtenBy(stage.counts) - writtenBy(earlier.counts);
    if (taken < 0 || written < 0) continue;
    rates.set(stage.stage, { in: (taken * 1000) / elapsed, out: (written * 1000) / elapsed });
  }
  return rates;
}

/** Items that went on, and rows that no single item became. */
const writtenBy = ({ forwarded, produced }: StageCounts) => forwarded + produced;

/** The rate in which the position of a reader moves, in records per second; `null` where it is not known. */
export function positionRate(
  before: readonly { topic: string; partition: number; position: number }[] | undefined,
  now: readonly { topic: string; partition: number; position: number }[],
  elapsedMs: number,
): number | null {
  if (before === undefined || elapsedMs < SHORTEST_MS) return null;
  let moved = 0;
  for (const partition of now) {
    const earlier = before.find((other) => other.topic === partition.topic && other.partition === partition.partition);
    if (earlier === undefined) continue;
    if (partition.position < earlier.position) return null;
    moved += partition.position - earlier.position;
  }
  return (moved * 1000) / elapsedMs;
}
