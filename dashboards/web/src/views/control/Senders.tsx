import { Link } from "react-router";

import { Badge } from "../../ui/Badge";
import { EmptyState, ErrorState, Skeleton } from "../../ui/states";
import { Time } from "../../ui/Time";
import { usePipeline } from "../pipeline/usePipeline";
import { amount } from "../pipeline/format";
import styles from "./control.module.css";

/** Who sends, how much of it is refused, and since when somebody is silent. */
export function Senders() {
  const { latest, asked } = usePipeline();
  if (latest === null) {
    if (!asked.isError) return <Skeleton />;
    return (
      <ErrorState title="The senders could not be read" error={asked.error} onRetry={() => void asked.refetch()} />
    );
  }
  const senders = [...latest.senders].sort((left, right) => right.requests - left.requests);
  if (senders.length === 0) {
    return (
      <EmptyState title="Nobody has sent anything since the start" action={<Link to="/start">Connect a sender</Link>}>
        Counts begin anew with each start of the process.
      </EmptyState>
    );
  }
  return (
    <div className={`card ${styles.senders}`}>
      <table>
        <caption className="hidden">Senders since the process started</caption>
        <thead>
          <tr>
            <th scope="col">Sender</th>
            <th scope="col">Standing</th>
            <th scope="col" className="numeric">
              Requests
            </th>
            <th scope="col" className="numeric">
              Refused
            </th>
            <th scope="col">Last heard</th>
          </tr>
        </thead>
        <tbody>
          {senders.map(({ sender, requests, refused, last_at }) => (
            <tr key={sender}>
              <th scope="row">{sender}</th>
              <td>
                {refused === 0 ? (
                  <Badge tone="good" shape="check">
                    All taken
                  </Badge>
                ) : refused < requests ? (
                  <Badge tone="warning" shape="triangle">
                    Some refused
                  </Badge>
                ) : (
                  <Badge tone="critical" shape="cross">
                    All refused
                  </Badge>
                )}
              </td>
              <td className="numeric">{amount(requests)}</td>
              <td className="numeric">
                {amount(refused)}
                {requests > 0 && refused > 0 && (
                  <span className="muted"> ({((100 * refused) / requests).toFixed(1)} %)</span>
                )}
              </td>
              <td>{last_at === null ? <span className="muted">not since the start</span> : <Time at={last_at} />}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
