import { useQuery } from "@tanstack/react-query";

import { api, body } from "../../api/client";
import type { PipelineView } from "../../api/shapes";
import { pipelineLive } from "../../live/channels";
import { useLive } from "../../live/useLive";

/** The pipeline: as the live connection samples it, before that as REST answers. */
export function usePipeline() {
  const { ready, state, connection } = useLive(pipelineLive);
  const asked = useQuery({
    queryKey: ["pipeline"],
    queryFn: ({ signal }) => body(api.GET("/pipeline", { signal })),
    enabled: !ready,
  });
  const latest: PipelineView | null = state.latest ?? asked.data ?? null;
  return { latest, samples: state.samples, connection, asked };
}
