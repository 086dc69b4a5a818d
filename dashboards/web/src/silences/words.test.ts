import { describe, expect, it } from "vitest";

import type { SilenceView } from "../api/silences";
import { type Criteria, instant, when, which } from "./words";

const ANY: Criteria = { incidents: [], services: [], environments: [], severities: [], title: null };
const ID = "0193a1b2-0000-7000-8000-000000000000";

describe("which", () => {
  it.each<[Partial<Criteria>, string]>([
    [{ incidents: [ID] }, "Incident 0193a1b2"],
    [{ incidents: [ID, "0193ffff-1"] }, "Incidents 0193a1b2 or 0193ffff"],
    [{ services: ["checkout"], environments: ["prod"] }, "Incidents of checkout in prod"],
    [
      { services: ["cart", "checkout", "search"], severities: ["critical", "warning"] },
      "Critical or warning incidents of cart, checkout or search",
    ],
    [{ title: "disk" }, "Incidents with “disk” in the title"],
    [{ environments: ["test"], severities: ["info"], title: "disk" }, "Info incidents in test with “disk” in the title"],
  ])("%o", (part, words) => {
    expect(which({ ...ANY, ...part })).toBe(words);
  });
});

/** In the time of wherever the test runs. */
const local = (day: number, hour: number, minute = 0): Date => new Date(2026, 11, day, hour, minute);
const NOW = local(1, 12).getTime();

describe("instant", () => {
  it("is a time today, and has its day otherwise", () => {
    expect(instant(local(1, 14, 5).toISOString(), NOW)).toBe("14:05");
    expect(instant(local(1, 0, 5).toISOString(), NOW)).toBe("00:05");
    expect(instant(local(2, 14, 5).toISOString(), NOW)).toMatch(/2.*14:05/);
    expect(instant("no time", NOW)).toBe("no time");
  });
});

describe("when", () => {
  const silence = {
    state: "active",
    starts_at: local(1, 11).toISOString(),
    ends_at: local(1, 14, 5).toISOString(),
    ended_by: null,
  } as SilenceView;

  it.each<[Partial<SilenceView>, string]>([
    [{}, "until 14:05"],
    [{ state: "pending" }, "from 11:00 until 14:05"],
    [{ state: "ended" }, "ended 14:05"],
    [{ state: "ended", ended_by: "human:bob" }, "ended 14:05 by bob"],
  ])("%o", (part, words) => {
    expect(when({ ...silence, ...part }, NOW)).toBe(words);
  });
});
