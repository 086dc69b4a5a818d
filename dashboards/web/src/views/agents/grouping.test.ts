import { describe, expect, it } from "vitest";

import type { LiveStep } from "../../api/shapes";
import type { Order } from "../../live/agents";
import { runsOf } from "./grouping";

const step = (id: string, run: string, status: string, second: number, tokens: number | null = null): LiveStep => ({
  id,
  run,
  incident_id: `incident of ${run}`,
  agent: "triage",
  attempt: 1,
  status,
  error: null,
  duration_ms: null,
  created_at: `2026-12-01T10:00:0${second}Z`,
  finished_at: status === "running" ? null : `2026-12-01T10:00:0${second + 1}Z`,
  tokens_used: tokens,
});

const pause: Order = { incident_id: "incident of a", run: null, verb: "pause", by: "human:ann", at: "2026-12-01T10:00:03Z" };

describe("runs", () => {
  it("groups steps, newest first, and adds up", () => {
    const runs = runsOf([step("2", "a", "success", 2, 40), step("1", "a", "success", 1, 2), step("3", "b", "failed", 4)], []);
    expect(runs.map(({ run, status, tokens, steps }) => [run, status, tokens, steps.map(({ id }) => id).join()])).toEqual([
      ["b", "failed", 0, "3"],
      ["a", "success", 42, "1,2"],
    ]);
    expect(runs[1]?.ended_at).toBe("2026-12-01T10:00:03Z");
  });

  it("runs while one step does, and is paused when told so", () => {
    const steps = [step("1", "a", "success", 1), step("2", "a", "running", 2)];
    expect(runsOf(steps, [])[0]).toMatchObject({ status: "running", ended_at: null });
    expect(runsOf(steps, [pause])[0]?.status).toBe("paused");
    expect(runsOf(steps, [{ ...pause, verb: "resume" }, pause])[0]?.status).toBe("running");
    expect(runsOf(steps, [{ ...pause, at: "2026-12-01T09:00:00Z" }])[0]?.status).toBe("running");
  });
});
