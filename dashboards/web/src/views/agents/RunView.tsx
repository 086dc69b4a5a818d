import { useState } from "react";
import { Link } from "react-router";

import type { LiveStep } from "../../api/shapes";
import { RunActions } from "../../evidence/RunActions";
import { agentName, count, whoIs } from "../../evidence/words";
import type { Order } from "../../live/agents";
import { StatusBadge } from "../../ui/Badge";
import { Time } from "../../ui/Time";
import { duration } from "../../ui/time";
import { useClock } from "../../ui/useNow";
import { Details } from "./Details";
import styles from "./agents.module.css";
import type { Run } from "./grouping";

function Took({ from, to }: { from: string; to: string | null }) {
  const words = useClock((now) => duration(Math.max(0, (to === null ? now : Date.parse(to)) - Date.parse(from))));
  return <>{words}</>;
}

function StepItem({ step }: { step: LiveStep }) {
  const [open, setOpen] = useState(false);
  return (
    <li className={styles.step} data-status={step.status}>
      <details open={open} onToggle={(event) => setOpen(event.currentTarget.open)}>
        <summary className={styles.summary}>
          <span className={styles.agent}>{agentName(step.agent)}</span>
          <StatusBadge status={step.status} />
          {step.attempt > 1 && <span className="muted small">attempt {step.attempt}</span>}
          <span className={styles.figures}>
            {step.duration_ms == null ? <Took from={step.created_at} to={step.finished_at ?? null} /> : duration(step.duration_ms)}
            {(step.tokens_used ?? 0) > 0 && <> · {count(step.tokens_used ?? 0, "token")}</>}
          </span>
        </summary>
        {open && <Details step={step} />}
      </details>
      {step.error != null && <p className={`wrap small ${styles.trouble}`}>{step.error}</p>}
    </li>
  );
}

interface RunViewProps {
  run: Run;
  title: string;
  orders: readonly Order[];
}

/** One investigation, step by step. */
export function RunView({ run, title, orders }: RunViewProps) {
  const given = orders.filter(({ incident_id, at }) => incident_id === run.incident && at >= run.began_at);
  return (
    <section className={`card ${styles.run}`} aria-label="The chosen investigation">
      <div className={styles.runHead}>
        <div className="grow">
          <h2 className="wrap" dir="auto">
            <Link to={`/incidents/${run.incident}`}>{title}</Link>
          </h2>
          <div className="row small muted">
            <StatusBadge status={run.status} />
            <span>
              began <Time at={run.began_at} />
            </span>
            <span>
              took <Took from={run.began_at} to={run.ended_at} />
            </span>
            <span>{count(run.tokens, "token")}</span>
          </div>
        </div>
        <RunActions incident={run.incident} running={run.status === "running"} paused={run.status === "paused"} />
      </div>
      {given.map((order) => (
        <p key={order.at + order.verb} className="muted small">
          {whoIs(order.by)} asked to {order.verb}, <Time at={order.at} />
        </p>
      ))}
      <ol className={styles.steps}>
        {run.steps.map((step) => (
          <StepItem key={step.id} step={step} />
        ))}
      </ol>
    </section>
  );
}
