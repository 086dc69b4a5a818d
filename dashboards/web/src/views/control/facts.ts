import { whoIs } from "./proposal";

/** Where a remediation is on its way, in the order in which it goes. */
export const WAY = ["proposed", "waiting", "granted", "attempted", "executed", "verified"] as const;

/** Statuses after which nothing more happens. */
const ENDS = new Set(["denied", "expired", "verified", "unverified", "rolled_back", "failed"]);

export const ended = (status: string): boolean => ENDS.has(status);

const WORDS: Record<string, string> = {
  proposed: "Proposed",
  decided: "Judged by the policy",
  approve: "Somebody said yes",
  deny: "Somebody said no",
  granted: "Granted",
  denied: "Denied",
  expired: "Expired: nobody answered in time",
  attempted: "The call is being made",
  executed: "Carried out",
  failed: "Failed: it did not happen",
  check_due: "Looking whether it helped",
  checked: "Looked at the target",
  verified: "It helped: the target is well",
  unverified: "Nobody could tell in time whether it helped",
  rollback_due: "It made things worse: taking it back",
  rolled_back: "Taken back",
  forged: "A record that nobody of this installation wrote; it counts for nothing",
  stop_switch: "The stop switch was turned",
};

/** A fact in plain words; unknown ones by their own name. */
export const factWord = (fact: string): string => WORDS[fact] ?? fact.replaceAll("_", " ");

/** What a fact says besides its name: who, why, what was seen. */
export function factDetail(fact: unknown): string {
  if (typeof fact !== "object" || fact === null) return "";
  const told = fact as Record<string, unknown>;
  const decision =
    typeof told.decision === "object" && told.decision !== null ? (told.decision as { why?: unknown }) : {};
  const said = [
    typeof told.by === "string" ? `by ${whoIs(told.by)}` : null,
    ...[decision.why, told.reason, told.note, told.cause].map((part) => (typeof part === "string" ? part : null)),
  ];
  return said.filter((part): part is string => part !== null && part !== "").join(": ");
}
