import { absolute, relative } from "./time";
import { useClock } from "./useNow";

/** An instant, relative to now, with its date and time as title. */
export function Time({ at }: { at: string }) {
  const instant = new Date(at).getTime();
  const words = useClock((now) => (Number.isNaN(instant) ? at : relative(instant, now)));
  return (
    <time dateTime={at} title={absolute(at)}>
      {words}
    </time>
  );
}
