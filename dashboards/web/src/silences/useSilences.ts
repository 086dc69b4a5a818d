import { keepPreviousData, useMutation, useQuery, useQueryClient } from "@tanstack/react-query";

import { type SilenceView, declareSilence, endSilence, silences } from "../api/silences";

/** They begin and end by themselves, and nobody tells of it live. */
const ASK_MS = 15_000;

/** Those that hold or are to come; with `all` the ended ones as well. */
export function useSilences(all: boolean) {
  return useQuery({
    queryKey: ["silences", "list", all],
    queryFn: ({ signal }) => silences(all ? { all: "true" } : {}, signal),
    placeholderData: keepPreviousData,
    refetchInterval: ASK_MS,
  });
}

/** Those that hold back messages about an incident now. */
export function useSilencesOver(incident: string) {
  return useQuery({
    queryKey: ["silences", "over", incident],
    queryFn: ({ signal }) => silences({ incident }, signal),
    refetchInterval: ASK_MS,
  });
}

/** Changes silences; what was read of them is read again, also after a refusal: it may have been out of date. */
function useChange<T>(change: (argument: T) => Promise<SilenceView>, onDone: (silence: SilenceView) => void) {
  const client = useQueryClient();
  return useMutation({
    mutationFn: change,
    onSuccess: onDone,
    onSettled: () => void client.invalidateQueries({ queryKey: ["silences"] }),
  });
}

export function useDeclare(onDone: (silence: SilenceView) => void) {
  return useChange(declareSilence, onDone);
}

export function useEnd(onDone: (silence: SilenceView) => void) {
  return useChange(endSilence, onDone);
}
