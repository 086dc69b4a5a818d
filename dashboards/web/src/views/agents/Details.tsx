import { useQuery } from "@tanstack/react-query";

import { outputOf, step as readStep, toolCallsOf } from "../../api/runs";
import type { LiveStep, ToolCall } from "../../api/shapes";
import { FindingItem } from "../../evidence/FindingItem";
import { count } from "../../evidence/words";
import { SeverityBadge } from "../../ui/Badge";
import { ErrorState, Skeleton } from "../../ui/states";
import { duration } from "../../ui/time";
import styles from "./agents.module.css";

function Call({ call }: { call: ToolCall }) {
  const failed = "Err" in call.outcome;
  return (
    <li className={styles.call}>
      <div className="row small">
        <code className="wrap">{call.tool}</code>
        <span className="muted">{duration(call.duration_ms)}</span>
        {call.after_ms !== undefined && <span className="muted">after {duration(call.after_ms)}</span>}
      </div>
      <div className={failed ? `wrap small ${styles.trouble}` : "wrap small"}>
        {"Err" in call.outcome ? `No answer: ${call.outcome.Err}` : call.outcome.Ok}
      </div>
      <details className="small">
        <summary className="muted">Question</summary>
        <pre>{JSON.stringify(call.arguments, null, 2)}</pre>
      </details>
    </li>
  );
}

/** What a step asked, found and could not learn. Read when somebody looks. */
export function Details({ step }: { step: LiveStep }) {
  const answer = useQuery({
    queryKey: ["run", step.id, step.status],
    queryFn: ({ signal }) => readStep(step.id, signal),
    staleTime: step.status === "running" ? 2_000 : Infinity,
  });
  if (answer.isPending) return <Skeleton lines={3} label="Loading the step" />;
  if (answer.isError) {
    return <ErrorState title="The step could not be read" error={answer.error} onRetry={() => void answer.refetch()} />;
  }
  const { triage, findings, unknown, proposal, postmortem } = outputOf(answer.data);
  const calls = toolCallsOf(answer.data);
  const nothing = triage === null && findings.length === 0 && proposal === null && postmortem === null;
  return (
    <div className={styles.details}>
      {triage !== null && (
        <div className="row">
          <SeverityBadge severity={triage.severity} />
          <span className="wrap">
            {triage.why} ({triage.action})
          </span>
        </div>
      )}
      {findings.map((finding) => (
        <FindingItem key={finding.kind + finding.summary} finding={finding} />
      ))}
      {proposal !== null && typeof proposal["reason"] === "string" && (
        <div>
          <div className="muted small">Proposal</div>
          <p className="wrap">{proposal["reason"]}</p>
        </div>
      )}
      {postmortem !== null && (
        <div>
          <div className="muted small">Root cause, from the postmortem</div>
          <p className="wrap">{postmortem.root_cause.text}</p>
        </div>
      )}
      {nothing && step.status !== "running" && <p className="muted">It found nothing that it could prove.</p>}
      {unknown.length > 0 && (
        <div>
          <div className="muted small">What it could not learn</div>
          <ul className={styles.unknown}>
            {unknown.map((what) => (
              <li key={what} className="wrap">
                {what}
              </li>
            ))}
          </ul>
        </div>
      )}
      {calls.length > 0 && (
        <details>
          <summary className="muted small">{count(calls.length, "question")} to tools</summary>
          <ul className={styles.calls}>
            {calls.map((call, index) => (
              <Call key={index} call={call} />
            ))}
          </ul>
        </details>
      )}
    </div>
  );
}
