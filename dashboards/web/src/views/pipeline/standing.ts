import type { PartitionView } from "../../api/shapes";

/** What a reader of topics looks like as a whole. */
export interface Standing {
  /** Records that it has not read yet. */
  lag: number;
  /** How far event time is behind the clock, in milliseconds: of the partition that is furthest behind. */
  behindMs: number | null;
  caughtUp: boolean;
}

export function standingOf(partitions: readonly PartitionView[], at: string): Standing {
  const now = Date.parse(at);
  const watermarks = partitions.flatMap(({ watermark }) => (watermark === null ? [] : [Date.parse(watermark)]));
  return {
    lag: partitions.reduce((sum, { lag }) => sum + lag, 0),
    behindMs: watermarks.length === 0 ? null : Math.max(0, now - Math.min(...watermarks)),
    caughtUp: partitions.every(({ lag }) => lag === 0),
  };
}

export type Health = "well" | "waiting" | "behind" | "troubled";

/** The worst that is to be said. More than this many records behind is worth a look. */
const MUCH = 10_000;

export function healthOf(part: {
  trouble: string | null;
  waiting: string | null;
  balanced?: boolean;
  standing: Standing;
}): Health {
  if (part.trouble !== null || part.balanced === false) return "troubled";
  if (part.standing.lag > MUCH) return "behind";
  if (part.waiting !== null) return "waiting";
  return "well";
}

export const HEALTH_WORDS: Record<Health, string> = {
  well: "Well",
  waiting: "Waiting",
  behind: "Behind",
  troubled: "Trouble",
};
