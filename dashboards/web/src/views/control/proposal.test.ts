import { describe, expect, it } from "vitest";
import { type Action, readProposal, sentence, whoIs } from "./proposal";

const target = { cluster: "default", namespace: "production", kind: "deployment", name: "api-server" } as const;

describe("sentence", () => {
  it.each<[Action, string]>([
    [{ type: "restart", target }, "Restart deployment/api-server in production"],
    [
      { type: "rollback", target, to_revision: null },
      "Roll deployment/api-server in production back to the revision before",
    ],
    [
      { type: "rollback", target: { ...target, cluster: "eu" }, to_revision: 3 },
      "Roll deployment/api-server in production of eu back to revision 3",
    ],
    [{ type: "scale", target, replicas: 1 }, "Scale deployment/api-server in production to 1 replica"],
    [{ type: "jira_transition", ticket: "OPS-1", to: "Done" }, "Bring OPS-1 to “Done”"],
  ])("%j", (action, words) => {
    expect(sentence(action)).toBe(words);
  });
});

describe("whoIs", () => {
  it("names agents, rules and people", () => {
    expect(whoIs("agent:fixer")).toBe("the agent fixer");
    expect(whoIs("rule:restarts")).toBe("the rule restarts");
    expect(whoIs("human:ann")).toBe("ann");
    expect(whoIs("somebody")).toBe("somebody");
  });
});

describe("readProposal", () => {
  it("takes whatever is there", () => {
    expect(readProposal(null)).toMatchObject({ action: null, dryRun: "", citations: [] });
    expect(readProposal({ dry_run: "+ a: 1", blast_radius: { workloads: 1, pods: 3 } })).toMatchObject({
      dryRun: "+ a: 1",
      blast: { workloads: 1, pods: 3 },
    });
  });
});
