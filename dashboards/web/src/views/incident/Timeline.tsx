import { useState } from "react";

import { Citations } from "../../evidence/Citations";
import { Button } from "../../ui/Button";
import { absolute, clock } from "../../ui/time";
import { Section } from "./Section";
import styles from "./incident.module.css";
import { type Entry, TRACKS, type Track } from "./timeline";

/** More at once would be a wall; the rest is one press away. */
const PAGE = 100;

function day(at: string): string {
  const date = new Date(at);
  return Number.isNaN(date.getTime()) ? "" : date.toLocaleDateString(undefined, { dateStyle: "medium" });
}

function Item({ entry, newDay }: { entry: Entry; newDay: boolean }) {
  return (
    <li className={styles.entry} data-track={entry.track}>
      {newDay && <div className={styles.day}>{day(entry.at)}</div>}
      <time className={styles.clock} dateTime={entry.at} title={absolute(entry.at)}>
        {clock(entry.at)}
      </time>
      <div className={styles.told}>
        <div className="wrap">
          <span className={styles.what}>{entry.what}</span> <bdi>{entry.text}</bdi>
        </div>
        {entry.why !== null && <div className="muted small wrap">{entry.why}</div>}
        {entry.finding !== null && <Citations citations={entry.finding.citations} />}
      </div>
    </li>
  );
}

export function Timeline({ entries }: { entries: readonly Entry[] }) {
  const [without, setWithout] = useState<ReadonlySet<Track>>(new Set());
  const [most, setMost] = useState(PAGE);
  const there = (Object.keys(TRACKS) as Track[]).filter((track) => entries.some((entry) => entry.track === track));
  const wanted = entries.filter(({ track }) => !without.has(track));
  // The newest are what one wants to see first of a long story; earlier ones on demand.
  const shown = wanted.slice(-most);
  const toggle = (track: Track) => {
    const next = new Set(without);
    if (!next.delete(track)) next.add(track);
    setWithout(next);
  };
  return (
    <Section
      title="Timeline"
      aside={
        <div className={styles.tracks} role="group" aria-label="What the timeline shows">
          {there.map((track) => (
            <label key={track} className={styles.track} data-track={track}>
              <input type="checkbox" checked={!without.has(track)} onChange={() => toggle(track)} />
              {TRACKS[track]}
            </label>
          ))}
        </div>
      }
    >
      {shown.length < wanted.length && (
        <Button size="small" onClick={() => setMost(most + PAGE)}>
          Show earlier ({(wanted.length - shown.length).toLocaleString("en")})
        </Button>
      )}
      <ol className={styles.timeline}>
        {shown.map((entry, index) => (
          <Item key={entry.key} entry={entry} newDay={day(entry.at) !== day(shown[index - 1]?.at ?? "")} />
        ))}
      </ol>
      {wanted.length === 0 && <p className="muted">Nothing of what is chosen happened.</p>}
    </Section>
  );
}
