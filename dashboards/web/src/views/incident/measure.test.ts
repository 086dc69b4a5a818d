import { describe, expect, it } from "vitest";

import type { Finding } from "../../api/shapes";
import { pointsOf, rowsOf } from "./measure";

const finding = (facts: Record<string, unknown>): Finding => ({ kind: "metric_change", summary: "", facts, citations: [] });

describe("points", () => {
  it.each<[unknown, number]>([
    [[[1_760_000_000, "0.3"], [1_760_000_060, 0.9]], 2],
    [[{ at: "2026-12-01T10:00:00Z", value: 1 }, { at: "2026-12-01T10:01:00Z", value: 2 }], 2],
    [["a", "b"], 0],
    [[[1, "x"], [2, "y"]], 0],
    [[], 0],
  ])("%j", (points, length) => {
    expect(pointsOf(finding({ names: ["x", "y"], points }))).toHaveLength(length);
  });
  it("takes seconds and milliseconds", () => {
    expect(pointsOf(finding({ curve: [[1_760_000_000, 1], [1_760_000_000_000, 2]] })).map(({ at }) => at)).toEqual([
      1_760_000_000_000, 1_760_000_000_000,
    ]);
  });
});

describe("rows", () => {
  it("has the unit of the symptom", () => {
    expect(rowsOf(finding({ symptom: "memory", usual: 0.3, peak: 0.95, factor: 2.84 }))).toEqual([
      { name: "Usual", value: "30.0 %" },
      { name: "At most", value: "95.0 %" },
      { name: "Times the usual", value: "2.8 ×" },
    ]);
    expect(rowsOf(finding({ symptom: "latency", value: 3.2 }))).toEqual([{ name: "Now", value: "3.20 s" }]);
  });
});
