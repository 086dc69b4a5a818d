import { describe, expect, it } from "vitest";
import { remaining, span } from "./expiry";

const NOW = Date.parse("2026-12-01T00:00:00Z");

describe("remaining", () => {
  it.each([
    ["2026-12-01T00:15:00Z", "15 min", false, false],
    ["2026-12-01T03:59:30Z", "3 h 59 min", false, false],
    ["2026-12-01T00:01:30Z", "1 min 30 s", true, false],
    ["2026-12-01T00:00:00.200Z", "1 s", true, false],
    ["2026-12-01T00:00:00Z", "expired", false, true],
    ["2026-11-30T00:00:00Z", "expired", false, true],
    ["no time", "unknown", false, false],
  ])("%s", (until, text, soon, over) => {
    expect(remaining(until, NOW)).toEqual({ over, soon, text });
  });
});

describe("span", () => {
  it("shows two units and no zeros", () => {
    expect(span(90_061_000)).toBe("1 d 1 h");
    expect(span(3_600_000)).toBe("1 h");
    expect(span(0)).toBe("0 s");
  });
});
