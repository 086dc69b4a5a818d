import { expect, it } from "vitest";

import { NO_STEPS, foldSteps } from "./agents";
import type { Message } from "./channel";

const asked = { id: "s", incident_id: "i", agent: "triage", run: "r", attempt: 1, status: "running", created_at: "t1", finished_at: null };
const answered = { id: "s", incident_id: "i", agent: "triage", run: "r", status: "success", finished_at: "t2", duration_ms: 5 };

const delta = (type: string, step: object | null, more: object = {}): Message => ({
  kind: "delta",
  delta: { cursor: "c", at: "t9", type, data: { incident_id: "i", run: "r", step, ...more } },
});

it("joins the end of a step with its beginning, in either order and however often", () => {
  const whole = { ...asked, ...answered };
  for (const order of [[asked, answered], [asked, answered, answered], [asked, answered, asked]]) {
    const state = foldSteps(NO_STEPS, order.map((step) => delta("requested", step)));
    expect([...state.byId.values()]).toEqual([whole]);
  }
});

it("does with an end alone", () => {
  const state = foldSteps(NO_STEPS, [delta("finished", answered)]);
  expect(state.byId.get("s")).toMatchObject({ attempt: 1, created_at: "t9", status: "success" });
});

it("begins again with a later attempt", () => {
  const state = foldSteps(NO_STEPS, [delta("requested", asked), delta("finished", answered), delta("requested", { ...asked, attempt: 2 })]);
  expect(state.byId.get("s")).toMatchObject({ attempt: 2, status: "running" });
});

it("keeps orders, newest first", () => {
  const state = foldSteps(NO_STEPS, [
    delta("ordered", null, { verb: "pause", by: "human:ann" }),
    delta("ordered", null, { verb: "resume", by: "human:ann" }),
  ]);
  expect(state.orders.map(({ verb }) => verb)).toEqual(["resume", "pause"]);
});
