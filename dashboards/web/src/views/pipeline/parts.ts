import type { PipelineView, StageView } from "../../api/shapes";
import { positionRate, stageRates } from "./rates";
import { type Health, type Standing, healthOf, standingOf } from "./standing";

/** A stage or a sink as it is shown: in the map and in the table alike. */
export interface Part {
  id: string;
  kind: "stage" | "sink";
  name: string;
  health: Health;
  standing: Standing;
  /** Items (stages) or records (sinks) per second; `null` until there are two samples. */
  rateIn: number | null;
  rateOut: number | null;
  trouble: string | null;
  waiting: string | null;
  /** Of stages alone. */
  books: StageView | null;
}

/** How far apart the two samples of a rate are: long enough to be calm, short enough to be of now. */
const SPAN = 5;

export function partsOf(samples: readonly PipelineView[], latest: PipelineView): Part[] {
  const before = samples.length > 1 ? (samples.at(-1 - SPAN) ?? samples[0] ?? null) : null;
  const elapsed = before === null ? 0 : Date.parse(latest.at) - Date.parse(before.at);
  const rates = stageRates(before, latest);
  const stages = latest.stages.map((stage): Part => {
    const standing = standingOf(stage.partitions, latest.at);
    const rate = rates.get(stage.stage);
    return {
      id: `stage:${stage.stage}`,
      kind: "stage",
      name: stage.stage,
      health: healthOf({ ...stage, standing }),
      standing,
      rateIn: rate?.in ?? null,
      rateOut: rate?.out ?? null,
      trouble: stage.trouble,
      waiting: stage.waiting,
      books: stage,
    };
  });
  const sinks = latest.sinks.map((sink): Part => {
    const standing = standingOf(sink.partitions, latest.at);
    const earlier = before?.sinks.find((other) => other.sink === sink.sink);
    return {
      id: `sink:${sink.sink}`,
      kind: "sink",
      name: sink.sink,
      health: healthOf({ ...sink, standing }),
      standing,
      rateIn: positionRate(earlier?.partitions, sink.partitions, elapsed),
      rateOut: null,
      trouble: sink.trouble,
      waiting: sink.waiting,
      books: null,
    };
  });
  return [...stages, ...sinks];
}
