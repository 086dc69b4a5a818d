import { describe, expect, it } from "vitest";

import type { IncidentView } from "../api/shapes";
import type { Message } from "./channel";
import { type Incidents, NO_INCIDENTS, foldUpTo } from "./incidents";

const incident = (id: string, revision: number, minute = 0): IncidentView =>
  ({ id, revision, created_at: `2026-12-01T10:${String(minute).padStart(2, "0")}:00Z`, merged_into: null }) as IncidentView;

const snapshot = (incidents: IncidentView[], more = false): Message => ({ kind: "snapshot", snapshot: { incidents, more } });

const delta = (of: IncidentView): Message => ({
  kind: "delta",
  delta: { cursor: "c", at: "", type: "signal_joined", data: { incident: of, fact: { type: "resolved" } } },
});

function check(messages: Message[], expected: string, held = 3): Incidents {
  const state = foldUpTo(NO_INCIDENTS, messages, held);
  expect(state.list.map(({ id, revision }) => `${id}${revision}`).join(" ")).toBe(expected);
  expect([...state.byId.keys()].sort()).toEqual(state.list.map(({ id }) => id).sort());
  return state;
}

describe("incidents", () => {
  it("are replaced by a snapshot", () => {
    check([delta(incident("x", 1)), snapshot([incident("a", 2)])], "a2");
  });

  it("come newest first, each once", () => {
    check([snapshot([incident("b", 1, 2), incident("a", 1, 1)]), delta(incident("c", 1, 3)), delta(incident("c", 1, 3))], "c1 b1 a1");
  });

  it("keep the newest revision", () => {
    check([snapshot([incident("a", 4)]), delta(incident("a", 3)), delta(incident("a", 4)), delta(incident("a", 6)), delta(incident("a", 5))], "a6");
  });

  it("are bounded: the oldest go, and are told to be missing", () => {
    const five = [1, 2, 3, 4, 5].map((minute) => delta(incident(`i${minute}.`, 1, minute)));
    const state = check([snapshot([]), ...five], "i5.1 i4.1 i3.1");
    expect(state).toMatchObject({ more: true, completeSince: "2026-12-01T10:03:00Z" });
  });

  it("know from when on they are complete", () => {
    const some = [incident("b", 1, 9), incident("a", 1, 8)];
    expect(check([snapshot(some, true), delta(incident("old", 7, 1))], "b1 a1 old7").completeSince).toBe("2026-12-01T10:08:00Z");
    expect(check([snapshot(some)], "b1 a1").completeSince).toBeNull();
  });

  it("stay the same object when nothing changes, so that nothing is drawn", () => {
    const state = foldUpTo(NO_INCIDENTS, [snapshot([incident("a", 2)])], 3);
    expect(foldUpTo(state, [delta(incident("a", 1))], 3)).toBe(state);
  });
});
