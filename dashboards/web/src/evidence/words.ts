/** Names of the product's own vocabulary for people. */

function spaced(word: string): string {
  const words = word.replaceAll("_", " ");
  return words.charAt(0).toUpperCase() + words.slice(1);
}

/** `agent:metric_correlator` and `human:ann` as one says them. */
export function whoIs(by: string): string {
  const [kind, name] = split(by);
  if (kind === "human" && name !== "") return name;
  if (kind === "agent") return name === "" || name === "crew" ? "the agents" : `the ${name.replaceAll("_", " ")}`;
  return by;
}

function split(by: string): [string, string] {
  const at = by.indexOf(":");
  return at === -1 ? [by, ""] : [by.slice(0, at), by.slice(at + 1)];
}

/** `metric_correlator` → `Metric correlator`. */
export const agentName = spaced;

const KINDS: Record<string, string> = {
  impact: "Impact",
  error_lines: "Error lines",
  out_of_memory: "Out of memory",
  metric_change: "Metric changed",
  traffic_before_symptom: "Traffic rose first",
  recent_change: "Recent change",
  unhealthy_pods: "Unhealthy pods",
  security_alert: "Security alert",
  secret_exposed: "Secret exposed",
  drift: "Drift",
};

export function findingName(kind: string): string {
  return KINDS[kind] ?? spaced(kind);
}

const RULES: Record<string, string> = {
  opened: "it opened the incident",
  "same-service": "same service",
  "same-group": "same group",
};

/** `same-service@1` → what the rule says, or its name. */
export function ruleName(rule: string): string {
  const name = rule.split("@")[0] ?? rule;
  return RULES[name] ?? name.replaceAll("-", " ");
}

export function count(number: number, one: string, many = `${one}s`): string {
  return `${number.toLocaleString("en")} ${number === 1 ? one : many}`;
}

/** `a, b or c`. */
export function listed(words: readonly string[], last: "and" | "or"): string {
  const before = words.slice(0, -1);
  const end = words.at(-1) ?? "";
  return before.length === 0 ? end : `${before.join(", ")} ${last} ${end}`;
}
