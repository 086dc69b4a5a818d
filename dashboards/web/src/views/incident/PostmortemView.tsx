import type { Citation, Postmortem, Statement } from "../../api/shapes";
import { Citations } from "../../evidence/Citations";
import { EmptyState } from "../../ui/states";
import { absolute, clock } from "../../ui/time";
import { Section } from "./Section";
import styles from "./incident.module.css";

function Said({ statement, all }: { statement: Statement; all: ReadonlyMap<string, Citation> }) {
  const cited = statement.citations.flatMap((id) => all.get(id) ?? []);
  return (
    <>
      <p className="wrap">{statement.text}</p>
      <Citations citations={cited} />
    </>
  );
}

/** The report in its sentences. They hold words of senders and logs, so they are shown as they are, not as markup. */
export function PostmortemView({ postmortem, active }: { postmortem: Postmortem | null; active: boolean }) {
  if (postmortem === null) {
    return (
      <EmptyState title="No postmortem yet">
        {active ? "It is written once the incident is resolved." : "The agents are off, or did not come to it."}
      </EmptyState>
    );
  }
  const all = new Map(postmortem.citations.map((citation) => [citation.id, citation]));
  return (
    <div className={styles.report}>
      <Section title="Root cause">
        <Said statement={postmortem.root_cause} all={all} />
      </Section>
      <Section title="Impact">
        <Said statement={postmortem.impact} all={all} />
      </Section>
      <Section title="What happened">
        <ol className={styles.timeline}>
          {postmortem.timeline.map((moment, index) => (
            <li key={index} className={styles.entry}>
              <time className={styles.clock} dateTime={moment.at} title={absolute(moment.at)}>
                {clock(moment.at)}
              </time>
              <div className={styles.told}>
                <Said statement={moment} all={all} />
              </div>
            </li>
          ))}
        </ol>
      </Section>
      <Section title="Resolution">
        <Said statement={postmortem.resolution} all={all} />
      </Section>
      <Section title="Follow-ups">
        {postmortem.follow_ups.length === 0 && <p className="muted">None.</p>}
        {postmortem.follow_ups.map((statement, index) => (
          <div key={index} className={styles.item}>
            <Said statement={statement} all={all} />
          </div>
        ))}
      </Section>
    </div>
  );
}
