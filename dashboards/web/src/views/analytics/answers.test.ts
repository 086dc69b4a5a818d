import { describe, expect, it } from "vitest";
import { numberOf, pivot, pointsOf, rowsOf, timeOf } from "./answers";
import { RANGES, rangeOf, steps } from "./range";

const HOUR = RANGES[0];
const NOW = Date.parse("2026-12-01T00:05:30Z");

describe("steps", () => {
  it.each(RANGES.map((range) => [range.id, range] as const))("%s covers the range in whole steps", (_, range) => {
    const all = steps(range, NOW);
    expect(all[0]).toBeLessThanOrEqual(NOW - range.spanMs);
    expect(all.at(-1)).toBeLessThanOrEqual(NOW);
    expect(all.length).toBeLessThanOrEqual(range.spanMs / range.stepMs + 1);
    expect(all.every((at) => (at - Date.UTC(2000, 0, 1)) % range.stepMs === 0)).toBe(true);
  });
});

describe("rangeOf", () => {
  it("takes an unknown one for a day", () => {
    expect(rangeOf("7d").id).toBe("7d");
    expect(rangeOf("forever").id).toBe("24h");
    expect(rangeOf(null).id).toBe("24h");
  });
});

describe("cells", () => {
  it("reads numbers, also as text", () => {
    expect(numberOf("12")).toBe(12);
    expect(numberOf(0)).toBe(0);
    expect(numberOf(null)).toBeNull();
    expect(numberOf("")).toBeNull();
    expect(numberOf("x")).toBeNull();
  });

  it.each([
    "2026-12-01T00:04:00Z",
    "2026-12-01 00:04:00.000000+00",
    "2026-12-01T00:04:00",
    "2026-12-01T01:04:00+01:00",
  ])("reads the time %s", (text) => {
    expect(timeOf(text)).toBe(Date.parse("2026-12-01T00:04:00Z"));
  });

  it("takes nothing else for a time", () => {
    expect(timeOf(5)).toBeNull();
    expect(timeOf("soon")).toBeNull();
  });
});

describe("points", () => {
  const answer = {
    columns: [
      { name: "time", type: "" },
      { name: "kind", type: "" },
      { name: "signals", type: "" },
    ],
    rows: [
      ["2026-12-01T00:04:00Z", "alert", "7"],
      ["2026-12-01T00:04:00Z", "change", 1],
      ["2020-01-01T00:00:00Z", "alert", 99],
    ],
    elapsed_ms: 1,
  };

  it("fills quiet steps with zero", () => {
    const { series, points } = pivot(rowsOf(answer), "kind", "signals", HOUR, NOW);
    expect(series).toEqual(["alert", "change"]);
    expect(points.at(-1)).toEqual({ at: Date.parse("2026-12-01T00:04:00Z"), alert: 7, change: 1 });
    expect(points[0]).toMatchObject({ alert: 0, change: 0 });
  });

  it("leaves out what is outside the range", () => {
    const points = pointsOf(rowsOf(answer), ["signals"], HOUR, NOW);
    expect(points.reduce((sum, point) => sum + (point["signals"] ?? 0), 0)).toBe(8);
  });
});
