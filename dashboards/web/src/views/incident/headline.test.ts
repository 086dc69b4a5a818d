import { expect, it } from "vitest";

import type { IncidentView } from "../../api/shapes";
import { headline } from "./headline";

const incident = {
  severity: "critical",
  service: "cart",
  environment: "prod",
  status: "open",
  created_at: "2026-12-01T10:00:00Z",
  resolved_at: null,
  resolved_by: null,
  firing: 1,
  members: 1200,
} as IncidentView;
const now = Date.parse("2026-12-01T12:05:00Z");

it.each<[Partial<IncidentView>, string]>([
  [{}, "Critical incident of cart in prod, open for 2 h 5 min. 1 of 1,200 alerts still fires."],
  [
    { status: "investigating", service: null, firing: 0, members: 1 },
    "Critical incident of an unnamed service in prod, being investigated, open for 2 h 5 min. 0 of 1 alert still fire.",
  ],
  [
    { status: "resolved", resolved_at: "2026-12-01T10:30:00Z", resolved_by: "human:ann" },
    "Critical incident of cart in prod, resolved by ann after 30 min. 1,200 alerts belonged to it.",
  ],
])("%o", (part, expected) => {
  expect(headline({ ...incident, ...part }, now)).toBe(expected);
});
