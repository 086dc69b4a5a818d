import type { SilenceView } from "../../api/silences";
import { whoIs } from "../../evidence/words";
import { EndSilence } from "../../silences/EndSilence";
import { useSilencesOver } from "../../silences/useSilences";
import { instant } from "../../silences/words";
import { absolute } from "../../ui/time";
import { useClock } from "../../ui/useNow";
import styles from "./incident.module.css";

/** That nobody is sent messages about the incident now, until when, and why. */
export function Silenced({ incident }: { incident: string }) {
  const silences = useSilencesOver(incident).data ?? [];
  return (
    <div className={styles.silenced} aria-live="polite">
      {silences.map((silence) => (
        <Banner key={silence.id} silence={silence} />
      ))}
    </div>
  );
}

function Banner({ silence }: { silence: SilenceView }) {
  const { ends_at, by, comment } = silence;
  const end = useClock((now) => instant(ends_at, now));
  return (
    <div className={styles.banner}>
      <p className="grow wrap">
        Messages about this incident are held back until{" "}
        <time dateTime={ends_at} title={absolute(ends_at)}>
          {end}
        </time>{" "}
        by {whoIs(by)}: <bdi>{comment}</bdi>
      </p>
      {/* Its question is a dialog, which is read out as one. */}
      <div aria-live="off">
        <EndSilence silence={silence}>End silence…</EndSilence>
      </div>
    </div>
  );
}
