import { keepPreviousData, useInfiniteQuery, useQuery, useQueryClient } from "@tanstack/react-query";
import { useEffect, useRef } from "react";

import { remediation, remediations } from "../../api/remediations";
import { remediationsLive } from "../../live/channels";
import { useDeltas } from "../../live/useLive";

const PAGE = 50;

/** The tables come a moment after the log: what was told is read again at once, and once more when they have caught up. */
const AGAIN_MS = 1_200;

/** Reads remediations again whenever something became of one. */
export function useFreshRemediations(): void {
  const client = useQueryClient();
  const timer = useRef<ReturnType<typeof setTimeout> | undefined>(undefined);
  useDeltas(remediationsLive, () => {
    const refresh = () => void client.invalidateQueries({ queryKey: ["remediations"] });
    refresh();
    clearTimeout(timer.current);
    timer.current = setTimeout(refresh, AGAIN_MS);
  });
  useEffect(() => () => clearTimeout(timer.current), []);
}

/** The newest, whatever became of them; a page at a time. */
export function useRemediations(status: string) {
  return useInfiniteQuery({
    queryKey: ["remediations", "list", status],
    queryFn: ({ pageParam, signal }) =>
      remediations({ ...(status === "" ? {} : { status }), limit: PAGE, offset: pageParam }, signal),
    initialPageParam: 0,
    getNextPageParam: (last) => (last.more ? last.offset + last.limit : undefined),
    placeholderData: keepPreviousData,
  });
}

export function useRemediation(id: string) {
  return useQuery({
    queryKey: ["remediations", "one", id],
    queryFn: ({ signal }) => remediation(id, signal),
  });
}
