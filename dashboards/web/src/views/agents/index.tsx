import { useMemo } from "react";
import { Link, useNavigate, useParams } from "react-router";
import { useQuery } from "@tanstack/react-query";

import { messageOf } from "../../api/error";
import { incident } from "../../api/incidents";
import { count } from "../../evidence/words";
import { useIncidents } from "../../live/useIncidents";
import { StatusBadge } from "../../ui/Badge";
import { Button } from "../../ui/Button";
import { type Column, DataTable } from "../../ui/DataTable";
import { Page } from "../../ui/Page";
import { Time } from "../../ui/Time";
import { EmptyState, Skeleton } from "../../ui/states";
import { RunView } from "./RunView";
import styles from "./agents.module.css";
import { type Run, runsOf } from "./grouping";
import { useSteps } from "./useSteps";

function columns(titleOf: (incident: string) => string): readonly Column<Run>[] {
  return [
    { id: "status", header: "Status", width: "104px", cell: ({ status }) => <StatusBadge status={status} /> },
    {
      id: "incident",
      header: "Incident",
      width: "minmax(140px, 1fr)",
      cell: (run) => <bdi title={titleOf(run.incident)}>{titleOf(run.incident)}</bdi>,
    },
    {
      id: "steps",
      header: "Steps",
      width: "56px",
      align: "end",
      cell: ({ steps }) => `${steps.filter(({ status }) => status !== "running").length} / ${steps.length}`,
    },
    { id: "began", header: "Began", width: "82px", align: "end", cell: ({ began_at }) => <Time at={began_at} /> },
  ];
}

/** The title of the incident of the chosen run, if it is not among the newest. */
function useTitle(run: Run | undefined, known: string | undefined): string {
  const id = run?.incident ?? "";
  const read = useQuery({
    queryKey: ["incident", id],
    queryFn: ({ signal }) => incident(id, signal),
    enabled: run !== undefined && known === undefined,
  });
  return known ?? read.data?.incident.title ?? `Incident ${id.slice(0, 8)}`;
}

export default function AgentsView() {
  const { run: wanted } = useParams();
  const navigate = useNavigate();
  const { ready, steps, orders, more, loading, error, load } = useSteps(wanted);
  const { byId } = useIncidents().state;
  const runs = useMemo(() => runsOf(steps, orders), [steps, orders]);
  const chosen = wanted === undefined ? runs[0] : runs.find(({ run }) => run === wanted);
  const title = useTitle(chosen, chosen === undefined ? undefined : byId.get(chosen.incident)?.title);
  const running = runs.filter(({ status }) => status === "running").length;

  return (
    <Page
      title="Agents"
      fill
      aside={
        <span className="muted small">
          {count(runs.length, "investigation")} shown, {running} running
        </span>
      }
    >
      {!ready ? (
        <Skeleton lines={8} label="Loading investigations" />
      ) : runs.length === 0 && !loading ? (
        <div className="card">
          <EmptyState title="Nothing was investigated yet" action={<Link to="/incidents">Go to the incidents</Link>}>
            The agents look at each new incident. If there are incidents and no investigation, they are switched off in{" "}
            <code>[agents]</code>.
          </EmptyState>
        </div>
      ) : (
        <div className={styles.columns}>
          <DataTable
            className={styles.list}
            label="Investigations, newest first"
            columns={columns((id) => byId.get(id)?.title ?? `Incident ${id.slice(0, 8)}`)}
            rows={runs}
            keyOf={({ run }) => run}
            active={chosen?.run ?? null}
            onActive={(run) => void navigate(`/agents/${run}`, { replace: true })}
            foot={
              <div className={styles.foot}>
                {error !== null && <span role="alert">{messageOf(error)}</span>}
                {more && (
                  <Button size="small" busy={loading} onClick={load}>
                    {loading ? "Loading…" : "Load older"}
                  </Button>
                )}
              </div>
            }
          />
          <div className={styles.chosen}>
            {chosen === undefined ? (
              <div className="card">
                <EmptyState title="This investigation is not among those loaded">
                  It may be older: “Load older” reads more of them.
                </EmptyState>
              </div>
            ) : (
              <RunView key={chosen.run} run={chosen} title={title} orders={orders} />
            )}
          </div>
        </div>
      )}
    </Page>
  );
}
