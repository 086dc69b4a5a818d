import { describe, expect, it } from "vitest";

import type { SqlAnswer } from "../../api/shapes";
import { drawn, figure, tick } from "./drawn";
import { PANELS } from "./panels";
import { RANGES } from "./range";
import { QUERIES } from "./queries";

const NOW = Date.parse("2026-12-01T00:05:30Z");

const answer = (names: string[], ...rows: unknown[][]): SqlAnswer => ({
  columns: names.map((name) => ({ name, type: "" })),
  rows,
  elapsed_ms: 1,
});

function panel(id: string) {
  const found = PANELS.find((one) => one.id === id);
  if (found === undefined) throw new Error(id);
  return found;
}

describe("drawn", () => {
  it("takes a bar for each row, and knows what is not known", () => {
    const got = drawn(
      panel("byService"),
      answer(["service", "incidents", "detect", "acknowledge", "resolve"], ["checkout", 5, 0.5, null, "600"]),
      RANGES[0],
      NOW,
    );
    expect(got).toMatchObject({
      kind: "bars",
      bars: [{ name: "checkout", values: { detect: 0.5, acknowledge: null, resolve: 600 } }],
    });
  });

  it("draws nothing of zeros", () => {
    const tokens = answer(["time", "agent", "tokens"], ["2026-12-01T00:04:00Z", "triage", 0]);
    expect(drawn(panel("tokens"), tokens, RANGES[0], NOW)).toBeNull();
    expect(drawn(panel("noise"), answer(["time", "alerts", "incidents"]), RANGES[0], NOW)).toBeNull();
  });

  it("gives each kind a colour", () => {
    const got = drawn(
      panel("volumes"),
      answer(["time", "kind", "signals"], ["2026-12-01T00:04:00Z", "log_pattern", 2]),
      RANGES[0],
      NOW,
    );
    expect(got?.series).toEqual([{ column: "log_pattern", name: "log pattern", colour: "var(--chart-1)" }]);
  });
});

describe("panels", () => {
  it("draw columns that their statements name", () => {
    for (const one of PANELS) {
      const statement = QUERIES[one.id](RANGES[1] ?? RANGES[0]);
      const columns =
        one.kind === "times"
          ? ["time", one.key, one.value]
          : [...one.series.map(({ column }) => column), ...(one.kind === "bars" ? [one.name] : ["time"])];
      for (const column of columns) expect(statement, one.id).toMatch(new RegExp(`(AS|,) ${column}\\b`));
    }
  });
});

describe("figures", () => {
  it("are written by their unit", () => {
    expect(figure(null, "count")).toBe("–");
    expect(figure(90, "seconds")).toBe("1 min 30 s");
    expect([tick(0, "seconds"), tick(60, "seconds"), tick(600, "seconds"), tick(7200, "seconds")]).toEqual([
      "0",
      "60 s",
      "10 min",
      "2 h",
    ]);
  });
});
