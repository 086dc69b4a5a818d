import { useId, useState } from "react";
import { useSearchParams } from "react-router";

import type { RemediationView } from "../../api/shapes";
import { StatusBadge } from "../../ui/Badge";
import { Button } from "../../ui/Button";
import { type Column, DataTable } from "../../ui/DataTable";
import { Dialog } from "../../ui/Dialog";
import { EmptyState, ErrorState, Skeleton } from "../../ui/states";
import { Time } from "../../ui/Time";
import { One } from "./One";
import { headlineOf } from "./headline";
import { whoIs } from "./proposal";
import { useRemediations } from "./useRemediations";
import styles from "./control.module.css";

const STATUSES: readonly (readonly [string, string])[] = [
  ["", "Any status"],
  ["waiting", "Waiting for approval"],
  ["granted", "Granted"],
  ["attempted", "Attempted"],
  ["executed", "Executed"],
  ["verified", "Verified"],
  ["unverified", "Not verified"],
  ["failed", "Failed"],
  ["rolled_back", "Rolled back"],
  ["denied", "Denied"],
  ["expired", "Expired"],
];

const COLUMNS: readonly Column<RemediationView>[] = [
  { id: "at", header: "Proposed", width: "100px", cell: ({ created_at }) => <Time at={created_at} /> },
  { id: "status", header: "Status", width: "170px", cell: ({ status }) => <StatusBadge status={status} /> },
  { id: "what", header: "What", width: "minmax(220px, 3fr)", cell: (row) => headlineOf(row) },
  { id: "by", header: "Proposed by", width: "minmax(90px, 1fr)", cell: ({ proposed_by }) => whoIs(proposed_by) },
  {
    id: "decided",
    header: "Decided by",
    width: "minmax(90px, 1fr)",
    cell: ({ decided_by }) => (decided_by == null ? <span className="muted">nobody</span> : whoIs(decided_by)),
  },
  {
    id: "note",
    header: "Note",
    width: "minmax(160px, 2fr)",
    cell: ({ note }) => <span className="muted">{note ?? ""}</span>,
  },
];

/** Everything that was ever proposed, newest first. */
export function History() {
  const [params, setParams] = useSearchParams();
  const status = params.get("status") ?? "";
  const open = params.get("remediation");
  const [active, setActive] = useState<string | null>(null);
  const select = useId();
  const found = useRemediations(status);
  const set = (name: string, value: string) =>
    setParams(
      (before) => {
        if (value === "") before.delete(name);
        else before.set(name, value);
        return before;
      },
      { replace: true },
    );
  const rows = found.data?.pages.flatMap((page) => page.remediations) ?? [];
  return (
    <div className="stack">
      <div className="row">
        <label htmlFor={select}>Status</label>
        <select id={select} value={status} onChange={(event) => set("status", event.target.value)}>
          {STATUSES.map(([value, word]) => (
            <option key={value} value={value}>
              {word}
            </option>
          ))}
        </select>
      </div>
      {found.isPending && <Skeleton />}
      {found.isError && (
        <ErrorState title="The history could not be read" error={found.error} onRetry={() => void found.refetch()} />
      )}
      {found.isSuccess && rows.length === 0 && (
        <EmptyState title={status === "" ? "Nothing was proposed yet" : "None with this status"}>
          Agents propose when they find a cause that an action can help with; people do with <code>aegis propose</code>.
        </EmptyState>
      )}
      {rows.length > 0 && (
        <DataTable
          label="Remediations"
          className={styles.table}
          columns={COLUMNS}
          rows={rows}
          keyOf={({ id }) => id}
          leastWidth={860}
          active={active}
          onActive={setActive}
          onOpen={({ id }) => set("remediation", id)}
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
      <Dialog open={open !== null} wide title="Remediation" onClose={() => set("remediation", "")}>
        {open !== null && <One id={open} />}
      </Dialog>
    </div>
  );
}
