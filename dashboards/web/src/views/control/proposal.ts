import type { components } from "../../api/schema";
import type { Citation } from "../../api/shapes";

export type Action = components["schemas"]["Action"];

/** What of a proposal is shown. Every member may be missing: the REST schema leaves it open. */
export interface Proposal {
  action: Action | null;
  dryRun: string;
  inverse: Action | null;
  blast: { workloads: number; pods: number } | null;
  target: unknown;
  citations: Citation[];
  environment: string | null;
}

export function readProposal(value: unknown): Proposal {
  const given = (typeof value === "object" && value !== null ? value : {}) as Record<string, unknown>;
  return {
    action: (given["action"] as Action | undefined) ?? null,
    dryRun: typeof given["dry_run"] === "string" ? given["dry_run"] : "",
    inverse: (given["inverse"] as Action | null | undefined) ?? null,
    blast: (given["blast_radius"] as Proposal["blast"] | undefined) ?? null,
    target: given["target"] ?? null,
    citations: Array.isArray(given["citations"]) ? (given["citations"] as Citation[]) : [],
    environment: typeof given["environment"] === "string" ? given["environment"] : null,
  };
}

/** A plan as a sentence: `Scale deployment/api-server in production to 5 replicas`. */
export function sentence(action: Action): string {
  switch (action.type) {
    case "restart":
      return `Restart ${workload(action.target)}`;
    case "rollback": {
      const to =
        action.to_revision === null || action.to_revision === undefined
          ? "the revision before"
          : `revision ${action.to_revision}`;
      return `Roll ${workload(action.target)} back to ${to}`;
    }
    case "scale":
      return `Scale ${workload(action.target)} to ${action.replicas} ${action.replicas === 1 ? "replica" : "replicas"}`;
    case "github_issue":
      return `Write the issue “${action.title}” into ${action.repository}`;
    case "github_comment":
      return `Write a comment below ${action.repository}#${action.number}`;
    case "github_rerun":
      return `Run the failed jobs of run ${action.run} of ${action.repository} again`;
    case "jira_issue":
      return `Write the ${action.kind} “${action.title}” into project ${action.project}`;
    case "jira_comment":
      return `Write a comment below ${action.ticket}`;
    case "jira_transition":
      return `Bring ${action.ticket} to “${action.to}”`;
    case "terraform_apply":
      return `Apply the plan ${action.plan} of ${action.folder}`;
  }
}

function workload({ cluster, namespace, kind, name }: components["schemas"]["Workload"]): string {
  return `${kind}/${name} in ${namespace}${cluster === "default" ? "" : ` of ${cluster}`}`;
}

/** The text that an action writes for people, which must be seen whole before anybody grants it. */
export function textOf(action: Action): string | null {
  return "body" in action ? action.body : null;
}

/** `agent:fixer`, `human:ann`, `rule:restarts` in plain words. */
export function whoIs(label: string): string {
  const [kind, ...rest] = label.split(":");
  const name = rest.join(":");
  if (name === "") return label;
  if (kind === "agent") return `the agent ${name}`;
  if (kind === "rule") return `the rule ${name}`;
  return kind === "human" ? name : label;
}
