import { useInfiniteQuery } from "@tanstack/react-query";
import { useMemo, useState } from "react";

import { runs } from "../../api/runs";
import type { LiveStep } from "../../api/shapes";
import { agentsLive } from "../../live/channels";
import { ASK_MS } from "../../live/useIncidents";
import { useLive } from "../../live/useLive";

const PAGE = 200;

/** Steps as the live connection tells of them, and older ones in pages when asked for. */
export function useSteps(wanted: string | undefined) {
  const live = useLive(agentsLive);
  const [asked, setAsked] = useState(false);
  const missing = wanted !== undefined && live.ready && ![...live.state.byId.values()].some(({ run }) => run === wanted);
  const older = useInfiniteQuery({
    queryKey: ["runs", "older"],
    queryFn: ({ pageParam, signal }) => runs({ limit: PAGE, offset: pageParam }, signal),
    initialPageParam: 0,
    getNextPageParam: (page) => (page.more ? page.offset + page.limit : undefined),
    enabled: asked || missing || !live.ready,
    refetchInterval: live.ready ? false : ASK_MS,
  });
  const pages = older.data?.pages;
  const steps = useMemo(() => {
    const byId = new Map<string, LiveStep>();
    for (const step of pages?.flatMap((page) => page.steps) ?? []) byId.set(step.id, step);
    for (const step of live.state.byId.values()) byId.set(step.id, step);
    return [...byId.values()];
  }, [pages, live.state.byId]);
  return {
    ready: live.ready || pages !== undefined,
    steps,
    orders: live.state.orders,
    more: pages === undefined || older.hasNextPage,
    loading: older.isFetching,
    error: older.error,
    load: () => {
      if (pages === undefined) {
        setAsked(true);
        if (older.isError) void older.refetch();
      } else void older.fetchNextPage();
    },
  };
}
