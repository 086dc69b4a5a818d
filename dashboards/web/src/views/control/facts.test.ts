import { describe, expect, it } from "vitest";

import { ended, factDetail, factWord } from "./facts";

describe("facts", () => {
  it("are told in plain words", () => {
    expect(factWord("rolled_back")).toBe("Taken back");
    expect(factWord("something_new")).toBe("something new");
  });

  it("say who and why", () => {
    expect(factDetail({ type: "denied", by: "human:ann", reason: "not now" })).toBe("by ann: not now");
    expect(factDetail({ type: "decided", decision: { effect: "ask", rule: null, why: "no rule matches" } })).toBe(
      "no rule matches",
    );
    expect(factDetail({ type: "expired" })).toBe("");
    expect(factDetail(null)).toBe("");
  });

  it("know where a remediation ends", () => {
    expect(["verified", "denied", "failed"].every(ended)).toBe(true);
    expect(["waiting", "executed"].some(ended)).toBe(false);
  });
});
