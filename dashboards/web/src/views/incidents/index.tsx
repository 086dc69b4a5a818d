import { useDeferredValue, useMemo, useRef, useState } from "react";
import { Link, useNavigate, useSearchParams } from "react-router";

import { messageOf } from "../../api/error";
import type { IncidentView } from "../../api/shapes";
import { count } from "../../evidence/words";
import { HELD } from "../../live/incidents";
import { useIncidents } from "../../live/useIncidents";
import { Button } from "../../ui/Button";
import { DataTable, type TableControl } from "../../ui/DataTable";
import { Page } from "../../ui/Page";
import { useShortcut } from "../../ui/shortcuts";
import { EmptyState, ErrorState, Skeleton } from "../../ui/states";
import { useClock } from "../../ui/useNow";
import { Announcer } from "./Announcer";
import { Filters } from "./Filters";
import { COLUMNS } from "./columns";
import { type Filter, STATUS_CHOICES, type StatusChoice, filterOf, hasStatus, matches, paramsOf, servicesOf, sinceAt } from "./filter";
import styles from "./incidents.module.css";
import { useOlder } from "./useOlder";

/** Services to choose from. Others are found by the search. */
const SERVICES = 100;

/** The live ones, and behind them the older ones that they do not have. */
function joined(live: readonly IncidentView[], older: readonly IncidentView[]): readonly IncidentView[] {
  if (older.length === 0) return live;
  const byId = new Map([...older, ...live].map((incident) => [incident.id, incident]));
  return [...byId.values()].sort((left, right) => (left.created_at < right.created_at ? 1 : -1));
}

function countsOf(incidents: readonly IncidentView[]): Record<StatusChoice, number> {
  const counts = { active: 0, open: 0, investigating: 0, resolved: 0, all: 0 };
  for (const incident of incidents) {
    for (const choice of STATUS_CHOICES) if (hasStatus(incident, choice)) counts[choice] += 1;
  }
  return counts;
}

export default function IncidentsView() {
  const navigate = useNavigate();
  const [params, setParams] = useSearchParams();
  const filter = filterOf(params);
  const { ready, state, error } = useIncidents();
  const live = useDeferredValue(state);
  const older = useOlder(live, filter);
  const [active, setActive] = useState<string | null>(null);
  const search = useRef<HTMLInputElement>(null);
  const table = useRef<TableControl>(null);
  // A span is as of the minute: what falls out of it need not go within the second.
  const minute = useClock((now) => Math.floor(now / 60_000) * 60_000);

  const known = useMemo(() => joined(live.list, older.list), [live.list, older.list]);
  const { severity, service, text, since } = filter;
  const found = useMemo(() => {
    const wanted: Filter = { status: "all", severity, service, text, since };
    const from = sinceAt(since, minute);
    return known.filter((incident) => matches(incident, wanted, from));
  }, [known, severity, service, text, since, minute]);
  const counts = useMemo(() => countsOf(found), [found]);
  const rows = useMemo(() => found.filter((incident) => hasStatus(incident, filter.status)), [found, filter.status]);
  const services = useMemo(() => servicesOf(known, service, SERVICES), [known, service]);

  const change = (part: Partial<Filter>) => setParams(paramsOf({ ...filter, ...part }), { replace: true });
  useShortcut("/", "Search in the list", () => search.current?.focus());
  useShortcut("j", "Next row", () => table.current?.move(1));
  useShortcut("k", "Previous row", () => table.current?.move(-1));

  const narrowed = severity !== "" || service !== "" || text !== "" || since !== "";
  const foot = (
    <div className={styles.foot}>
      {older.error !== null && <span role="alert">{messageOf(older.error)}</span>}
      {older.more ? (
        <Button size="small" busy={older.loading} onClick={older.load}>
          {older.loading ? "Loading…" : "Load older"}
        </Button>
      ) : (
        rows.length > 0 && <span className="small">That is all.</span>
      )}
    </div>
  );

  return (
    <Page
      title="Incidents"
      fill
      aside={
        <span className="muted small" title={`The page keeps the newest ${HELD.toLocaleString("en")} up to date by itself.`}>
          {count(rows.length, "incident")} shown
          {live.list.length >= HELD && `; the newest ${HELD.toLocaleString("en")} are kept live, older ones as of when they were loaded`}
        </span>
      }
    >
      <Filters filter={filter} onChange={change} counts={counts} services={services} search={search} />
      <Announcer />
      {!ready && error !== null ? (
        <ErrorState title="The incidents could not be read" error={error} />
      ) : !ready ? (
        <Skeleton lines={9} label="Loading incidents" />
      ) : rows.length === 0 && !older.more ? (
        <div className={`card ${styles.full}`}>
          {known.length === 0 ? (
            <EmptyState title="No incident yet" action={<Link to="/start">Connect a sender</Link>}>
              Nothing that arrived was worth one, or nothing has arrived.
            </EmptyState>
          ) : narrowed ? (
            <EmptyState
              title="No incident matches"
              action={<Button onClick={() => setParams(new URLSearchParams("status=all"))}>Show all</Button>}
            >
              The filters leave none of {count(known.length, "incident")}.
            </EmptyState>
          ) : (
            <EmptyState
              title={filter.status === "resolved" ? "Nothing is resolved yet" : "Nothing needs you now"}
              action={<Button onClick={() => change({ status: "all" })}>Show all</Button>}
            >
              No incident is {filter.status}. New ones appear here by themselves.
            </EmptyState>
          )}
        </div>
      ) : (
        <DataTable
          control={table}
          className={styles.table}
          label="Incidents, newest first"
          columns={COLUMNS}
          rows={rows}
          keyOf={({ id }) => id}
          leastWidth={860}
          active={active}
          onActive={setActive}
          onOpen={({ id }) => void navigate(`/incidents/${id}`)}
          foot={foot}
        />
      )}
    </Page>
  );
}
