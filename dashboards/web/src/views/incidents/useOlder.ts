import { useInfiniteQuery } from "@tanstack/react-query";
import { useEffect, useEffectEvent, useState } from "react";

import { type IncidentQuery, incidents } from "../../api/incidents";
import type { IncidentView } from "../../api/shapes";
import type { Incidents } from "../../live/incidents";
import { type Filter, hasStatus, queryOf } from "./filter";

const PAGE = 200;
/** Whoever types is asked for nothing in between. */
const TYPED_MS = 400;

export interface Older {
  list: readonly IncidentView[];
  /** There are, or may be, further ones. */
  more: boolean;
  loading: boolean;
  error: unknown;
  load: () => void;
}

interface Begun {
  /** For which filter. */
  key: string;
  /** Of the moment in which it began: a span that moved on would be another question each minute. */
  query: IncidentQuery;
  /** Where reading begins: behind what is known. New incidents move the pages on, so they overlap and never leave a gap. */
  offset: number;
}

/** How many of those that the gateway finds are known for certain. Words are searched from the beginning: the gateway may find others by them than the page. */
function certain(live: Incidents, filter: Filter, query: IncidentQuery): number {
  if (query.text !== undefined || query.since !== undefined) return 0;
  const known = live.list.filter(
    (incident) =>
      (live.completeSince === null || incident.created_at >= live.completeSince) &&
      (query.status === undefined || hasStatus(incident, filter.status)) &&
      (query.severity === undefined || incident.severity === query.severity) &&
      (query.service === undefined || incident.service === query.service),
  );
  // The oldest instant may hold more incidents than are known.
  return known.filter((incident) => incident.created_at !== live.completeSince).length;
}

/** Incidents older than those that the live connection told of, read in pages when asked for; where words are searched, the first page by itself. */
export function useOlder(live: Incidents, filter: Filter): Older {
  const key = JSON.stringify(filter);
  const [begun, setBegun] = useState<Begun | null>(null);
  const wanted = begun?.key === key ? begun : null;
  const pages = useInfiniteQuery({
    queryKey: ["incidents", "older", key, wanted],
    queryFn: ({ pageParam, signal }) => incidents({ ...wanted?.query, limit: PAGE, offset: pageParam }, signal),
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
    const query = queryOf(filter, Date.now());
    setBegun({ key, query, offset: certain(live, filter, query) });
  };
  const begin = useEffectEvent(load);
  const search = filter.text.trim() !== "" && live.more && wanted === null;
  useEffect(() => {
    if (!search) return undefined;
    const timer = setTimeout(() => begin(), TYPED_MS);
    return () => clearTimeout(timer);
  }, [search, key]);
  return {
    list,
    more: live.more && (wanted === null || pages.isPending || pages.hasNextPage || pages.isError),
    loading: wanted !== null && pages.isFetching,
    error: wanted === null ? null : pages.error,
    load,
  };
}
