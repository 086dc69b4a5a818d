import { type ReactNode, useMemo } from "react";
import { Link, useParams, useSearchParams } from "react-router";

import type { IncidentDetail, IncidentView, RemediationView, StepView } from "../../api/shapes";
import { RunActions } from "../../evidence/RunActions";
import { agentsLive } from "../../live/channels";
import { useLive } from "../../live/useLive";
import { SeverityBadge, StatusBadge } from "../../ui/Badge";
import { Page } from "../../ui/Page";
import { type Tab, Tabs } from "../../ui/Tabs";
import { ErrorState, Skeleton } from "../../ui/states";
import { useClock } from "../../ui/useNow";
import { Actions } from "./Actions";
import { AlsoHere } from "./AlsoHere";
import { Measurements } from "./Measurements";
import { Members } from "./Members";
import { PostmortemView } from "./PostmortemView";
import { Raw } from "./Raw";
import { Remediations } from "./Remediations";
import { Silenced } from "./Silenced";
import { Similar } from "./Similar";
import { Steps } from "./Steps";
import { Suspects } from "./Suspects";
import { Timeline } from "./Timeline";
import { headline } from "./headline";
import styles from "./incident.module.css";
import { findingsOf, isMeasured } from "./measure";
import { timelineOf } from "./timeline";
import { useIncident } from "./useIncident";

const NO_STEPS: readonly StepView[] = [];
const NO_REMEDIATIONS: readonly RemediationView[] = [];

function Headline({ incident }: { incident: IncidentView }) {
  const sentence = useClock((now) => headline(incident, now));
  return <p className={styles.headline}>{sentence}</p>;
}

/** Investigations of the incident: whether one runs, and whether it was asked to pause. */
function useRun(id: string, steps: readonly StepView[]): { running: boolean; paused: boolean } {
  const { orders } = useLive(agentsLive).state;
  const last = orders.find(({ incident_id }) => incident_id === id);
  return { running: steps.some(({ status }) => status === "running"), paused: last?.verb === "pause" };
}

interface StoryProps {
  id: string;
  detail: IncidentDetail;
  steps: readonly StepView[];
  remediations: readonly RemediationView[];
}

function Story({ id, detail, steps, remediations }: StoryProps) {
  const entries = useMemo(() => timelineOf(detail, steps, remediations), [detail, steps, remediations]);
  const findings = useMemo(() => findingsOf(detail.events).map(({ finding }) => finding), [detail.events]);
  return (
    <div className={styles.story}>
      <Timeline entries={entries} />
      <div className={styles.side}>
        <Remediations remediations={remediations} />
        <Suspects events={detail.events} findings={findings.filter((finding) => !isMeasured(finding))} />
        <Measurements findings={findings} />
        <Similar id={id} />
      </div>
    </div>
  );
}

export default function IncidentDetailView() {
  const { id = "" } = useParams();
  const [params, setParams] = useSearchParams();
  const { detail, incident, steps, remediations } = useIncident(id);
  const all = steps.data?.steps ?? NO_STEPS;
  const run = useRun(id, all);

  if (detail.isError && detail.data === undefined) {
    return (
      <Page title="Incident">
        <ErrorState title="The incident could not be read" error={detail.error} onRetry={() => void detail.refetch()} />
      </Page>
    );
  }
  if (detail.data === undefined || incident === undefined) {
    return (
      <Page title="Incident">
        <Skeleton lines={8} label="Loading the incident" />
      </Page>
    );
  }
  const { members, events } = detail.data;
  const postmortem = events.findLast(({ payload }) => payload.fact.type === "postmortem_added")?.payload.fact;
  const tab = (name: string, label: string, content: ReactNode): Tab => ({ id: name, label, content });
  const tabs = [
    tab(
      "story",
      "Story",
      <Story id={id} detail={detail.data} steps={all} remediations={remediations.data ?? NO_REMEDIATIONS} />,
    ),
    tab("alerts", `Alerts (${members.length.toLocaleString("en")})`, <Members members={members} />),
    tab("steps", `Investigation (${all.length})`, <Steps steps={all} />),
    tab(
      "postmortem",
      "Postmortem",
      <PostmortemView
        postmortem={postmortem?.type === "postmortem_added" ? postmortem.postmortem : null}
        active={incident.status !== "resolved"}
      />,
    ),
    tab("raw", "Raw", <Raw detail={detail.data} />),
  ];
  const chosen = params.get("tab") ?? "story";

  return (
    <Page
      title={incident.title}
      heading={
        <div className={styles.heading}>
          <nav aria-label="Way here" className="small">
            <Link to="/incidents">Incidents</Link> <span className="muted">/ {id.slice(0, 8)}</span>
          </nav>
          <h1 className="wrap" dir="auto">
            {incident.title}
          </h1>
          <div className="row">
            <SeverityBadge severity={incident.severity} />
            <StatusBadge status={incident.status} />
            <Headline incident={incident} />
          </div>
          <AlsoHere incident={id} />
          {incident.root_cause !== null && (
            <p className="wrap">
              <span className="muted">Cause:</span> {incident.root_cause}
            </p>
          )}
          {incident.resolution !== null && (
            <p className="wrap">
              <span className="muted">Ended by:</span> {incident.resolution}
            </p>
          )}
          {incident.merged_into !== null && (
            <p>
              It lives on in <Link to={`/incidents/${incident.merged_into}`}>another incident</Link>, which has its alerts now.
            </p>
          )}
        </div>
      }
      aside={
        <div className={styles.actions}>
          <Actions incident={incident} />
          <RunActions incident={id} running={run.running} paused={run.paused} />
        </div>
      }
    >
      <Silenced incident={id} />
      <Tabs
        label="Parts of the incident"
        tabs={tabs}
        value={tabs.some((one) => one.id === chosen) ? chosen : "story"}
        onChange={(name) => setParams(name === "story" ? {} : { tab: name }, { replace: true })}
      />
    </Page>
  );
}
