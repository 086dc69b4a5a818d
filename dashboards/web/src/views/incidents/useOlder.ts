import { useInfiniteQuery } from "@tanstack/react-query";
import { useState } from "react";

import { incidents } from "../../api/incidents";
import type { IncidentView } from "../../api/shapes";
import type { Incidents } from "../../live/incidents";
import { type Filter, hasStatus, queryOf } from "./filter";

const PAGE = 200;

export interface Older {
  list: readonly IncidentView[];
  /** There are, or may be, further ones. */
  more: boolean;
  loading: boolean;
  error: unknown;
  load: () => void;
}

/** Incidents older than those that the live connection told of, read in pages when asked for. */
export function useOlder(live: Incidents, filter: Filter): Older {
  const query = queryOf(filter);
  const key = JSON.stringify(query);
  // Where reading begins: behind what is known. New incidents move the pages on, so they overlap and never leave a gap.
  const [begun, setBegun] = useState<{ key: string; offset: number } | null>(null);
  const wanted = begun?.key === key ? begun : null;
  const pages = useInfiniteQuery({
    queryKey: ["incidents", "older", key, wanted?.offset],
    queryFn: ({ pageParam, signal }) => incidents({ ...query, limit: PAGE, offset: pageParam }, signal),
    initialPageParam: wanted?.offset ?? 0,
    getNextPageParam: (page) => (page.more ? page.offset + page.limit : undefined),
    enabled: wanted !== null,
    staleTime: Infinity,
  });
  const list = wanted === null ? [] : (pages.data?.pages.flatMap((page) => page.incidents) ?? []);
  const load = () => {
    if (wanted !== null) {
      if (pages.isError) void pages.refetch();
      else void pages.fetchNextPage();
      return;
    }
    const known = live.list.filter(
      (incident) =>
        (live.completeSince === null || incident.created_at >= live.completeSince) &&
        (query.status === undefined || hasStatus(incident, filter.status)) &&
        (query.severity === undefined || incident.severity === query.severity) &&
        (query.service === undefined || incident.service === query.service),
    );
    // The oldest instant may hold more incidents than are known.
    const certain = known.filter((incident) => incident.created_at !== live.completeSince);
    setBegun({ key, offset: certain.length });
  };
  return {
    list,
    more: live.more && (wanted === null || pages.isPending || pages.hasNextPage || pages.isError),
    loading: wanted !== null && pages.isFetching,
    error: wanted === null ? null : pages.error,
    load,
  };
}
