import type { Member } from "../../api/shapes";
import { SeverityBadge } from "../../ui/Badge";
import { type Column, DataTable } from "../../ui/DataTable";
import { Time } from "../../ui/Time";
import styles from "./incident.module.css";
import { reasonOf, titles } from "./timeline";

function columns(titleOf: (episode: string) => string | null): readonly Column<Member>[] {
  return [
    { id: "severity", header: "Severity", width: "92px", cell: ({ severity }) => <SeverityBadge severity={severity} /> },
    {
      id: "title",
      header: "Alert",
      width: "minmax(200px, 2fr)",
      cell: ({ title }) => (
        <bdi title={title}>{title}</bdi>
      ),
    },
    { id: "service", header: "Service", width: "minmax(90px, 1fr)", cell: ({ service }) => <bdi>{service ?? "–"}</bdi> },
    { id: "source", header: "From", width: "100px", cell: ({ source }) => <span className="muted">{source}</span> },
    { id: "began", header: "Began", width: "86px", align: "end", cell: ({ starts_at }) => <Time at={starts_at} /> },
    {
      id: "over",
      header: "Over",
      width: "86px",
      align: "end",
      cell: ({ ends_at }) => (ends_at === null ? <span className={styles.firing}>firing</span> : <Time at={ends_at} />),
    },
    {
      id: "why",
      header: "Why it belongs here",
      width: "minmax(260px, 3fr)",
      cell: (member) => {
        const reason = reasonOf(member, titleOf);
        return <span title={reason}>{reason}</span>;
      },
    },
  ];
}

export function Members({ members }: { members: readonly Member[] }) {
  return (
    <DataTable
      className={styles.members}
      label="Alerts of the incident, by their beginning"
      columns={columns(titles(members))}
      rows={members}
      keyOf={({ episode }) => episode}
      leastWidth={1000}
    />
  );
}
