import { Link } from "react-router";

import type { StepView } from "../../api/shapes";
import { agentName } from "../../evidence/words";
import { StatusBadge } from "../../ui/Badge";
import { EmptyState } from "../../ui/states";
import { Time } from "../../ui/Time";
import { duration } from "../../ui/time";

/** The steps of the investigations of one incident. */
export function Steps({ steps }: { steps: readonly StepView[] }) {
  if (steps.length === 0) {
    return (
      <EmptyState title="Not investigated">The agents are off, or have not come to it. “Run again” asks for it.</EmptyState>
    );
  }
  return (
    <div className="card">
      <table>
        <thead>
          <tr>
            <th scope="col">Step</th>
            <th scope="col">Status</th>
            <th scope="col">Began</th>
            <th scope="col" className="numeric">
              Took
            </th>
            <th scope="col" className="numeric">
              Tokens
            </th>
            <th scope="col">Trouble</th>
          </tr>
        </thead>
        <tbody>
          {steps.map((step) => (
            <tr key={step.id}>
              <td>
                <Link to={`/agents/${step.run}`}>{agentName(step.agent)}</Link>
                {step.attempt > 1 && <span className="muted small"> attempt {step.attempt}</span>}
              </td>
              <td>
                <StatusBadge status={step.status} />
              </td>
              <td>
                <Time at={step.created_at} />
              </td>
              <td className="numeric">{step.duration_ms == null ? "–" : duration(step.duration_ms)}</td>
              <td className="numeric">{step.tokens_used?.toLocaleString("en") ?? "–"}</td>
              <td className="wrap">{step.error ?? ""}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
