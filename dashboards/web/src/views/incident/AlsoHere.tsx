import { listed } from "../../evidence/words";
import { others } from "../../live/presence";
import { usePresence } from "../../live/usePresence";
import { useMe } from "../../session/useMe";

/** Who else looks at the incident now. */
export function AlsoHere({ incident }: { incident: string }) {
  const names = others(usePresence(incident), useMe()?.name ?? null);
  // It is there for screen readers before there is somebody to tell of.
  return (
    <p className={names.length === 0 ? "hidden" : "muted small wrap"} role="status" aria-live="polite">
      {names.length > 0 && `Also here: ${listed(names, "and")}`}
    </p>
  );
}
