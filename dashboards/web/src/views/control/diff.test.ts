import { describe, expect, it } from "vitest";
import { compareStates, readDryRun } from "./diff";

describe("readDryRun", () => {
  it("pairs what a field was and what it would be", () => {
    expect(readDryRun("- spec.replicas: 3\n+ spec.replicas: 5\n")).toEqual({
      changes: [{ path: "spec.replicas", before: "3", after: "5" }],
      notes: [],
    });
  });

  it("knows fields that come or go", () => {
    const text =
      "+ spec.template.metadata.annotations[kubectl.kubernetes.io/restartedAt]: 2026-12-01T00:05:38Z\n- spec.paused: true";
    expect(readDryRun(text).changes).toEqual([
      {
        path: "spec.template.metadata.annotations[kubectl.kubernetes.io/restartedAt]",
        before: null,
        after: "2026-12-01T00:05:38Z",
      },
      { path: "spec.paused", before: "true", after: null },
    ]);
  });

  it("keeps colons of values", () => {
    expect(readDryRun("+ image: registry.example/checkout:v8").changes[0]?.after).toBe("registry.example/checkout:v8");
  });

  it("leaves prose alone", () => {
    expect(readDryRun("nothing would change")).toEqual({ changes: [], notes: ["nothing would change"] });
    expect(readDryRun("… and 3 more fields").notes).toHaveLength(1);
    expect(readDryRun("")).toEqual({ changes: [], notes: [] });
  });
});

describe("compareStates", () => {
  it("names only what differs", () => {
    const before = { generation: 3, ready: 2, detail: { images: ["checkout:v9"], pods: ["a", "b"] } };
    const after = { generation: 4, ready: 2, detail: { images: ["checkout:v8"], pods: ["a"] } };
    expect(compareStates(before, after)).toEqual([
      { path: "generation", before: "3", after: "4" },
      { path: "detail.images[0]", before: "checkout:v9", after: "checkout:v8" },
      { path: "detail.pods[1]", before: "b", after: null },
    ]);
  });

  it("takes a side that is not known", () => {
    expect(compareStates(null, { ready: 1 })).toEqual([{ path: "ready", before: null, after: "1" }]);
    expect(compareStates(null, null)).toEqual([]);
  });
});
