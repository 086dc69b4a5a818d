import { useEffect, useRef, useState } from "react";

import { count } from "../../evidence/words";
import { incidentsLive } from "../../live/channels";
import { useDeltas } from "../../live/useLive";

/** Often enough to notice, seldom enough to listen to something else. */
const EVERY_MS = 10_000;

/** Tells screen readers of new incidents, all of some seconds in one sentence. */
export function Announcer() {
  const opened = useRef(0);
  const [sentence, setSentence] = useState("");
  useDeltas(incidentsLive, (deltas) => {
    opened.current += deltas.filter(({ type }) => type === "opened").length;
  });
  useEffect(() => {
    const timer = setInterval(() => {
      if (opened.current === 0) return;
      setSentence(`${count(opened.current, "new incident")}.`);
      opened.current = 0;
    }, EVERY_MS);
    return () => clearInterval(timer);
  }, []);
  return (
    <div className="hidden" role="status" aria-live="polite">
      {sentence}
    </div>
  );
}
