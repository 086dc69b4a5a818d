import { keepPreviousData, useQuery } from "@tanstack/react-query";

import { api, body } from "../../api/client";
import type { SqlAnswer } from "../../api/shapes";

export function runSql(query: string, signal?: AbortSignal): Promise<SqlAnswer> {
  return body(api.POST("/sql", { body: { query }, signal: signal ?? null }));
}

/** The answer to a statement; asked again each minute, as the statements end now. */
export function useSql(query: string) {
  return useQuery({
    queryKey: ["sql", query],
    queryFn: ({ signal }) => runSql(query, signal),
    placeholderData: keepPreviousData,
    refetchInterval: 60_000,
  });
}
