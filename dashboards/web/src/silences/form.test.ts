import { describe, expect, it } from "vitest";

import { ApiError } from "../api/error";
import type { IncidentView } from "../api/shapes";
import { type Draft, type Faults, UNTIL, check, choose, draftOf, faultsOf, fieldTime, namesOf } from "./form";

const NOW = new Date(2026, 11, 1, 12, 0).getTime();
const INCIDENT = { id: "i", service: "checkout", environment: "prod" } as IncidentView;
const BODY = {
  incidents: [],
  services: [],
  environments: [],
  severities: [],
  title: null,
  starts_at: null,
  ends_at: null,
  duration: "2h",
  comment: "a move",
};

const empty = (part: Partial<Draft>): Draft => ({ ...draftOf(null, NOW), comment: "a move", ...part });
const about = (part: Partial<Draft>): Draft => ({ ...draftOf(INCIDENT, NOW), comment: "a move", ...part });

describe("check", () => {
  it.each<[string, Draft, object]>([
    ["an incident alone", about({}), { incidents: ["i"] }],
    ["where it is", about({ incident: null }), { services: ["checkout"], environments: ["prod"] }],
    ["nothing of hidden fields", about({ severities: ["info"], title: "disk" }), { incidents: ["i"] }],
    ["severities and words", empty({ severities: ["info"], title: " disk " }), { severities: ["info"], title: "disk" }],
    ["a name that is typed", empty({ services: { chosen: ["cart"], typed: " a, b " } }), { services: ["cart", "a, b"] }],
    ["a length", empty({ title: "disk", length: "30m" }), { title: "disk", duration: "30m" }],
    [
      "an end",
      empty({ title: "disk", length: UNTIL, until: "2026-12-01T14:05" }),
      { title: "disk", duration: null, ends_at: new Date(2026, 11, 1, 14, 5).toISOString() },
    ],
    [
      "a start",
      empty({ title: "disk", from: "2026-12-02T22:00" }),
      { title: "disk", starts_at: new Date(2026, 11, 2, 22, 0).toISOString() },
    ],
    ["a comment without space around it", empty({ title: "disk", comment: " a move\n" }), { title: "disk" }],
  ])("sends %s", (_, draft, part) => {
    expect(check(draft, NOW)).toEqual({ body: { ...BODY, ...part } });
  });

  it.each<[string, Draft, (keyof Faults)[]]>([
    ["nothing", empty({ comment: "" }), ["services", "comment"]],
    ["spaces", empty({ title: " ", services: { chosen: [], typed: " " }, comment: " " }), ["services", "comment"]],
    ["no reason", about({ comment: "" }), ["comment"]],
    ["no end", about({ length: UNTIL, until: "" }), ["until"]],
    ["an end before the start", about({ from: "2026-12-02T22:00", length: UNTIL, until: "2026-12-02T21:00" }), ["until"]],
    ["an end that is past", about({ length: UNTIL, until: "2026-12-01T12:00" }), ["until"]],
  ])("does not send %s", (_, draft, fields) => {
    const checked = check(draft, NOW);
    expect("faults" in checked ? Object.keys(checked.faults) : []).toEqual(fields);
  });
});

describe("faultsOf", () => {
  it.each<[string | null, keyof Faults]>([
    ["comment", "comment"],
    ["duration", "until"],
    ["ends_at", "until"],
    ["incidents", "form"],
    [null, "form"],
  ])("%s", (field, shown) => {
    expect(faultsOf(new ApiError(400, "Bad Request", "why", field), "why")).toEqual({ [shown]: "why" });
  });

  it("is of the form where there was no answer", () => {
    expect(faultsOf(new Error("cut"), "cut")).toEqual({ form: "cut" });
  });
});

it("has each name once", () => {
  expect(namesOf({ chosen: ["cart"], typed: "cart" })).toEqual(["cart"]);
  expect(choose({ chosen: ["cart"], typed: " checkout" })).toEqual({ chosen: ["cart", "checkout"], typed: "" });
  expect(choose({ chosen: ["cart"], typed: " " })).toEqual({ chosen: ["cart"], typed: "" });
});

it("writes times as the browser's field has them", () => {
  expect(fieldTime(new Date(2026, 0, 2, 3, 4, 59).getTime())).toBe("2026-01-02T03:04");
  expect(draftOf(null, NOW).until).toBe("2026-12-01T14:00");
});
