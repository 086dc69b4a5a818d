import { useQuery } from "@tanstack/react-query";
import { Link } from "react-router";

import { messageOf } from "../../api/error";
import { similar } from "../../api/incidents";
import { StatusBadge } from "../../ui/Badge";
import { Button } from "../../ui/Button";
import { Time } from "../../ui/Time";
import { Skeleton } from "../../ui/states";
import { Section } from "./Section";
import styles from "./incident.module.css";

/** Past incidents like this one, what they share with it, and what fixed them. */
export function Similar({ id }: { id: string }) {
  const answer = useQuery({
    queryKey: ["incident", id, "similar"],
    queryFn: ({ signal }) => similar(id, signal),
    staleTime: 60_000,
  });
  const found = answer.data;
  return (
    <Section title="Similar past incidents">
      {answer.isPending && <Skeleton lines={3} label="Looking for similar incidents" />}
      {answer.isError && (
        <p className="row">
          <span className="grow muted wrap">{messageOf(answer.error)}</span>
          <Button size="small" onClick={() => void answer.refetch()}>
            Try again
          </Button>
        </p>
      )}
      {found?.similar.length === 0 && <p className="muted">None that shares enough with it.</p>}
      {found?.similar.map((past) => (
        <div key={past.id} className={styles.item}>
          <div className="row">
            <Link className="grow wrap" to={`/incidents/${past.id}`} dir="auto">
              {past.title}
            </Link>
            <StatusBadge status={past.status} />
          </div>
          <div className="muted small wrap">
            {Math.round(past.score * 100)} % alike, <Time at={past.created_at} />:{" "}
            {past.matched.map(({ feature, value }) => `${feature} ${value}`).join(", ")}
          </div>
          {past.root_cause != null && <p className="wrap">{past.root_cause}</p>}
          {past.fixes.map((fix) => (
            <div key={fix.remediation} className="row small">
              <span className="wrap grow">
                {fix.action} {fix.target}
                {fix.note != null && <span className="muted">: {fix.note}</span>}
              </span>
              <StatusBadge status={fix.status} />
            </div>
          ))}
          {past.fixes.length === 0 && past.resolution != null && <p className="wrap small">{past.resolution}</p>}
        </div>
      ))}
      {found?.degraded != null && <p className="muted small wrap">Some may be missing: {found.degraded}</p>}
      {found !== undefined && found.behind > 0 && (
        <p className="muted small">{found.behind.toLocaleString("en")} records are not compared yet.</p>
      )}
    </Section>
  );
}
