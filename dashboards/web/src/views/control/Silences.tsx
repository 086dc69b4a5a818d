import { useState } from "react";
import { Link, useSearchParams } from "react-router";

import type { SilenceView } from "../../api/silences";
import { whoIs } from "../../evidence/words";
import { EndSilence } from "../../silences/EndSilence";
import { SilenceDialog } from "../../silences/SilenceDialog";
import { useSilences } from "../../silences/useSilences";
import { when, which } from "../../silences/words";
import { Badge } from "../../ui/Badge";
import { RoleButton } from "../../ui/Button";
import { EmptyState, ErrorState, Skeleton } from "../../ui/states";
import { absolute } from "../../ui/time";
import { useClock } from "../../ui/useNow";
import styles from "./control.module.css";

/** Of which incidents people are not told for a while, by whom and why. */
export function Silences() {
  const [params, setParams] = useSearchParams();
  const [making, setMaking] = useState(false);
  const all = params.get("silences") === "all";
  const found = useSilences(all);
  const showAll = (on: boolean) =>
    setParams(
      (before) => {
        if (on) before.set("silences", "all");
        else before.delete("silences");
        return before;
      },
      { replace: true },
    );
  return (
    <div className="stack">
      <div className="row">
        <RoleButton role="responder" look="primary" onClick={() => setMaking(true)}>
          New silence…
        </RoleButton>
        <label className="row">
          <input type="checkbox" checked={all} onChange={(event) => showAll(event.target.checked)} />
          Show ended ones
        </label>
      </div>
      {found.isPending && <Skeleton />}
      {found.isError && (
        <ErrorState title="The silences could not be read" error={found.error} onRetry={() => void found.refetch()} />
      )}
      {found.isSuccess && found.data.length === 0 && (
        <EmptyState title={all ? "Nothing was silenced lately" : "Nothing is silenced"}>
          A silence holds back messages about certain incidents for a while: to Slack, to PagerDuty and to webhooks. The
          incidents themselves, their investigations and this dashboard go on, and what is still open at its end is told
          then.
        </EmptyState>
      )}
      {found.isSuccess && found.data.length > 0 && <Table silences={found.data} />}
      <SilenceDialog open={making} onClose={() => setMaking(false)} />
    </div>
  );
}

function Table({ silences }: { silences: readonly SilenceView[] }) {
  return (
    <div className={`card ${styles.silences}`}>
      <table>
        <caption className="hidden">Silences, the one declared last first</caption>
        <thead>
          <tr>
            <th scope="col">What is silenced</th>
            <th scope="col">State</th>
            <th scope="col">When</th>
            <th scope="col">By</th>
            <th scope="col">Comment</th>
            <th scope="col">
              <span className="hidden">What can be done</span>
            </th>
          </tr>
        </thead>
        <tbody>
          {silences.map((silence) => (
            <Row key={silence.id} silence={silence} />
          ))}
        </tbody>
      </table>
    </div>
  );
}

function Row({ silence }: { silence: SilenceView }) {
  const { incidents, state, starts_at, ends_at, by, comment } = silence;
  const words = useClock((now) => when(silence, now));
  return (
    <tr>
      <th scope="row" className="wrap">
        <bdi>{which(silence)}</bdi>
        {incidents.map((id) => (
          <div key={id} className="small">
            <Link to={`/incidents/${id}`}>Open {id.slice(0, 8)}</Link>
          </div>
        ))}
      </th>
      <td>
        <State state={state} />
      </td>
      <td>
        <time dateTime={ends_at} title={`${absolute(starts_at)} – ${absolute(ends_at)}`}>
          {words}
        </time>
      </td>
      <td>{whoIs(by)}</td>
      <td className="wrap">
        <bdi>{comment}</bdi>
      </td>
      <td className="numeric">{state !== "ended" && <EndSilence silence={silence}>End…</EndSilence>}</td>
    </tr>
  );
}

function State({ state }: { state: SilenceView["state"] }) {
  switch (state) {
    case "pending":
      return (
        <Badge tone="info" shape="ring">
          To come
        </Badge>
      );
    case "active":
      return (
        <Badge tone="warning" shape="pause">
          Active
        </Badge>
      );
    case "ended":
      return (
        <Badge tone="quiet" shape="dash">
          Ended
        </Badge>
      );
  }
}
