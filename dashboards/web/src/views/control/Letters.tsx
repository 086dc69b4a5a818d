import { keepPreviousData, useInfiniteQuery } from "@tanstack/react-query";
import { useId, useState } from "react";
import { useSearchParams } from "react-router";

import { letters } from "../../api/letters";
import type { LetterView } from "../../api/shapes";
import { Badge } from "../../ui/Badge";
import { Button } from "../../ui/Button";
import { type Column, DataTable } from "../../ui/DataTable";
import { EmptyState, ErrorState, Skeleton } from "../../ui/states";
import { Time } from "../../ui/Time";
import { LetterDialog } from "./LetterDialog";
import styles from "./control.module.css";
import { useFreshLetters } from "./useFreshLetters";

const PAGE = 100;

const COLUMNS: readonly Column<LetterView>[] = [
  { id: "at", header: "Received", width: "90px", cell: ({ received_at }) => <Time at={received_at} /> },
  { id: "status", header: "Status", width: "110px", cell: ({ status }) => <LetterStatus status={status} /> },
  { id: "stage", header: "Refused by", width: "minmax(100px, 1fr)", cell: ({ stage }) => stage },
  { id: "reason", header: "Reason", width: "minmax(110px, 1fr)", cell: ({ reason }) => reason.replaceAll("_", " ") },
  {
    id: "detail",
    header: "Detail",
    width: "minmax(240px, 4fr)",
    cell: ({ detail }) => <span title={detail}>{detail}</span>,
  },
  {
    id: "source",
    header: "Stands at",
    width: "minmax(130px, 1fr)",
    cell: (row) => <span className="mono">{`${row.source_topic}/${row.source_partition}/${row.source_offset}`}</span>,
  },
];

export function LetterStatus({ status }: { status: string }) {
  if (status === "open") {
    return (
      <Badge tone="warning" shape="ring">
        Open
      </Badge>
    );
  }
  return (
    <Badge tone="quiet" shape={status === "replayed" ? "check" : "dash"}>
      {status === "replayed" ? "Replayed" : status === "dropped" ? "Dropped" : status}
    </Badge>
  );
}

/** What was refused, with its bytes, and what is to be done about it. */
export function Letters() {
  const [params, setParams] = useSearchParams();
  const status = params.get("letters") ?? "open";
  const [active, setActive] = useState<string | null>(null);
  const [open, setOpen] = useState<string | null>(null);
  const select = useId();
  useFreshLetters();
  const found = useInfiniteQuery({
    queryKey: ["letters", "list", status],
    queryFn: ({ pageParam, signal }) =>
      letters({ ...(status === "any" ? {} : { status }), limit: PAGE, offset: pageParam }, signal),
    initialPageParam: 0,
    getNextPageParam: (last) => (last.more ? last.offset + last.limit : undefined),
    placeholderData: keepPreviousData,
    refetchInterval: 15_000,
  });
  const rows = found.data?.pages.flatMap((page) => page.dead_letters) ?? [];
  return (
    <div className="stack">
      <div className="row">
        <label htmlFor={select}>Status</label>
        <select
          id={select}
          value={status}
          onChange={(event) => {
            const chosen = event.target.value;
            setParams(
              (before) => {
                before.set("letters", chosen);
                return before;
              },
              { replace: true },
            );
          }}
        >
          <option value="open">Open</option>
          <option value="replayed">Replayed</option>
          <option value="dropped">Dropped</option>
          <option value="any">Any status</option>
        </select>
      </div>
      {found.isPending && <Skeleton />}
      {found.isError && (
        <ErrorState
          title="The dead letters could not be read"
          error={found.error}
          onRetry={() => void found.refetch()}
        />
      )}
      {found.isSuccess && rows.length === 0 && (
        <EmptyState title={status === "open" ? "No dead letter is open" : "None with this status"}>
          What cannot be read, or is taken by nobody, is kept here with its bytes. Nothing is lost.
        </EmptyState>
      )}
      {rows.length > 0 && (
        <DataTable
          label="Dead letters"
          className={styles.table}
          columns={COLUMNS}
          rows={rows}
          keyOf={({ id }) => id}
          leastWidth={900}
          active={active}
          onActive={setActive}
          onOpen={({ id }) => setOpen(id)}
          foot={
            found.hasNextPage && (
              <div className={styles.more}>
                <Button size="small" busy={found.isFetchingNextPage} onClick={() => void found.fetchNextPage()}>
                  Load older
                </Button>
              </div>
            )
          }
        />
      )}
      <LetterDialog id={open} onClose={() => setOpen(null)} />
    </div>
  );
}
