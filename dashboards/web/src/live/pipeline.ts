/** The pipeline as `/pipeline` tells it: the newest samples. */
import type { PipelineView } from "../api/shapes";
import type { Fold } from "./channel";

/** About two minutes of samples, for rates and small charts. */
const SAMPLES_HELD = 120;

export interface Samples {
  /** Oldest first; counts are since the process started, so they fall where it was started again. */
  samples: readonly PipelineView[];
  latest: PipelineView | null;
}

export const NO_SAMPLES: Samples = { samples: [], latest: null };

export const foldSamples: Fold<Samples> = (state, messages) => {
  const came = messages.map((message) =>
    message.kind === "snapshot" ? (message.snapshot as PipelineView) : (message.delta.data as PipelineView),
  );
  const samples = [...state.samples, ...came].slice(-SAMPLES_HELD);
  return { samples, latest: samples.at(-1) ?? null };
};
