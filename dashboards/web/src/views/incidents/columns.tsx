import { Link } from "react-router";

import type { IncidentView } from "../../api/shapes";
import { SeverityBadge, StatusBadge } from "../../ui/Badge";
import type { Column } from "../../ui/DataTable";
import { Time } from "../../ui/Time";
import styles from "./incidents.module.css";

export const COLUMNS: readonly Column<IncidentView>[] = [
  { id: "severity", header: "Severity", width: "92px", cell: ({ severity }) => <SeverityBadge severity={severity} /> },
  { id: "status", header: "Status", width: "122px", cell: ({ status }) => <StatusBadge status={status} /> },
  {
    id: "title",
    header: "Incident",
    width: "minmax(240px, 3fr)",
    cell: ({ id, title }) => (
      <Link className={styles.title} to={`/incidents/${id}`} title={title} tabIndex={-1} dir="auto">
        {title}
      </Link>
    ),
  },
  {
    id: "service",
    header: "Service",
    width: "minmax(110px, 1fr)",
    cell: ({ service }) => (service === null ? <span className="muted">none named</span> : <bdi>{service}</bdi>),
  },
  {
    id: "environment",
    header: "Environment",
    width: "minmax(90px, 0.7fr)",
    cell: ({ environment }) => <bdi className="muted">{environment}</bdi>,
  },
  {
    id: "alerts",
    header: "Firing / alerts",
    width: "104px",
    align: "end",
    cell: ({ firing, members }) => (
      <>
        <span className={firing > 0 ? styles.firing : "muted"}>{firing.toLocaleString("en")}</span>
        {" / "}
        {members.toLocaleString("en")}
      </>
    ),
  },
  { id: "opened", header: "Opened", width: "92px", align: "end", cell: ({ created_at }) => <Time at={created_at} /> },
  { id: "changed", header: "Changed", width: "92px", align: "end", cell: ({ updated_at }) => <Time at={updated_at} /> },
];
