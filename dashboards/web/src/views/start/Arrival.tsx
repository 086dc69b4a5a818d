import { Link } from "react-router";

import { incidentsLive } from "../../live/channels";
import { useLive } from "../../live/useLive";
import { Badge, SeverityBadge } from "../../ui/Badge";
import { Time } from "../../ui/Time";
import { amount } from "../pipeline/format";
import { usePipeline } from "../pipeline/usePipeline";
import { arrivalOf } from "./arrival";
import styles from "./start.module.css";

/** Waits for the first event, and lights up when it is there. */
export function Arrival() {
  const incidents = useLive(incidentsLive);
  const { latest } = usePipeline();
  const { taken, refused, senders } = arrivalOf(latest);
  const [newest] = incidents.state.list;
  const arrived = taken > 0 || newest !== undefined;
  return (
    <section
      className={`card ${styles.arrival} ${arrived ? styles.lit : ""}`}
      aria-label="What has arrived"
      aria-live="polite"
    >
      {arrived ? (
        <Badge tone="good" shape="check">
          {newest === undefined ? "The first event is here" : "It works: incidents are here"}
        </Badge>
      ) : (
        <Badge tone="info" shape="half">
          Waiting for the first event
        </Badge>
      )}
      {senders.map(({ sender, requests, last_at }) => (
        <p key={sender}>
          <strong>{sender}</strong>: {amount(requests)} {requests === 1 ? "request" : "requests"}
          {last_at !== null && (
            <span className="muted">
              , the last <Time at={last_at} />
            </span>
          )}
        </p>
      ))}
      {refused > 0 && (
        <p className={styles.refused}>
          {amount(refused)} {refused === 1 ? "request was" : "requests were"} refused: the answer to the sender says
          why, and <Link to="/control?tab=senders">Senders</Link> says whose.
        </p>
      )}
      {newest === undefined ? (
        <p className="muted">
          {taken > 0
            ? "What arrived opened no incident yet. An alert that fires opens one; log lines and changes alone do not."
            : "This page needs no reload."}
        </p>
      ) : (
        <p className="row">
          <SeverityBadge severity={newest.severity} />
          <Link to={`/incidents/${newest.id}`} className="wrap">
            {newest.title}
          </Link>
          <span className="muted">
            <Time at={newest.created_at} />
          </span>
          <Link to="/incidents">All incidents</Link>
        </p>
      )}
    </section>
  );
}
