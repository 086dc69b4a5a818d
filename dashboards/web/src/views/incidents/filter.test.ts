import { describe, expect, it } from "vitest";

import type { IncidentView } from "../../api/shapes";
import { type Filter, filterOf, hasStatus, matches, paramsOf, queryOf, servicesOf, sinceAt } from "./filter";

const NONE: Filter = { status: "active", severity: "", service: "", text: "", since: "" };
const incident = {
  id: "84d4f68d",
  title: "HighErrorRate on checkout",
  service: "checkout",
  environment: "prod",
  source: "alertmanager",
  severity: "critical",
  status: "investigating",
  root_cause: null,
  merged_into: null,
  created_at: "2026-12-01T10:00:00Z",
} as unknown as IncidentView;

describe("filter", () => {
  it("offers the services with the most incidents, and the one that is chosen", () => {
    const of = (service: string | null) => ({ ...incident, service });
    const known = [of("b"), of("a"), of("b"), of("c"), of(null), of("c"), of("c")];
    expect(servicesOf(known, "", 2)).toEqual(["b", "c"]);
    expect(servicesOf(known, "a", 2)).toEqual(["a", "b", "c"]);
  });

  it("stands in the address and comes back", () => {
    const filter: Filter = { status: "resolved", severity: "critical", service: "a&b", text: "x y", since: "7d" };
    expect(filterOf(paramsOf(filter))).toEqual(filter);
    expect(paramsOf(NONE).toString()).toBe("");
    expect(filterOf(new URLSearchParams("status=nonsense")).status).toBe("active");
  });

  it("asks the gateway for what it can do", () => {
    const now = Date.parse("2026-12-01T12:00:00Z");
    expect(queryOf(NONE, now)).toEqual({});
    expect(queryOf({ ...NONE, text: " disk full " }, now)).toEqual({ text: "disk full" });
    expect(queryOf({ ...NONE, status: "open", service: "cart", since: "1h" }, now)).toEqual({
      status: "open",
      service: "cart",
      since: "2026-12-01T11:00:00.000Z",
    });
  });

  it.each<[Partial<Filter>, boolean]>([
    [{}, true],
    [{ severity: "info" }, false],
    [{ service: "check" }, false],
    [{ text: "CHECKOUT high" }, true],
    [{ text: "checkout cart" }, false],
    [{ text: "84d4" }, true],
  ])("%o matches: %s", (part, expected) => {
    expect(matches(incident, { ...NONE, ...part }, null)).toBe(expected);
  });

  it("leaves out what is older, and what lives on elsewhere", () => {
    const now = Date.parse("2026-12-01T12:00:00Z");
    expect(matches(incident, NONE, sinceAt("1h", now))).toBe(false);
    expect(matches(incident, NONE, sinceAt("24h", now))).toBe(true);
    expect(matches({ ...incident, merged_into: "other" }, NONE, null)).toBe(false);
  });

  it("knows the states", () => {
    expect(["active", "open", "investigating", "resolved", "all"].map((one) => hasStatus(incident, one as never))).toEqual([
      true,
      false,
      true,
      false,
      true,
    ]);
  });
});
