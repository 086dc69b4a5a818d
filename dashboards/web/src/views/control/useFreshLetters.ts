import { useQueryClient } from "@tanstack/react-query";
import { useEffect } from "react";

import { pipelineLive } from "../../live/channels";
import { useLive } from "../../live/useLive";

/** A letter is in the tables a moment after it is counted. */
const WRITTEN_MS = 500;

/** Reads dead letters again as soon as a stage counts another one; those of sinks come with the next regular look. */
export function useFreshLetters(): void {
  const client = useQueryClient();
  const { state } = useLive(pipelineLive);
  const counted = state.latest?.stages.reduce((sum, { counts }) => sum + counts.dead_lettered, 0) ?? null;
  useEffect(() => {
    if (counted === null) return undefined;
    const timer = setTimeout(() => void client.invalidateQueries({ queryKey: ["letters"] }), WRITTEN_MS);
    return () => clearTimeout(timer);
  }, [client, counted]);
}
