import { describe, expect, it } from "vitest";

import type { EventView, Fact, IncidentDetail, Member, RemediationView, StepView } from "../../api/shapes";
import { reasonOf, timelineOf, titles } from "./timeline";

const member = (episode: string, part: Partial<Member> = {}): Member => ({
  episode,
  signal: episode,
  dedup_key: episode,
  source: "alertmanager",
  title: `Alert ${episode}`,
  severity: "critical",
  service: "cart",
  namespace: null,
  starts_at: "2026-12-01T10:00:00Z",
  ends_at: null,
  rule: "same-service@1",
  key: "service:cart",
  linked_to: "a",
  apart_ms: 90_000,
  ...part,
});

const event = (revision: number, at: string, fact: Fact): EventView => ({
  revision,
  at,
  observed_at: at,
  fact: fact.type,
  payload: { fact, incident: {} },
});

describe("reason", () => {
  const titleOf = titles([member("a")]);
  it("names rule, value, neighbour and distance", () => {
    expect(reasonOf(member("b"), titleOf)).toBe(
      "same service service:cart (same-service@1), linked to “Alert a”, 1 min 30 s apart",
    );
  });
  it("does without what is not there", () => {
    expect(reasonOf(member("b", { linked_to: "gone", apart_ms: null, key: null }), titleOf)).toBe(
      "same service (same-service@1), linked to another alert",
    );
    expect(reasonOf(member("b", { rule: "opened@1", linked_to: null }), titleOf)).toBe("it opened the incident (opened@1)");
  });
});

describe("timeline", () => {
  const detail = {
    incident: {},
    members: [member("a"), member("b")],
    events: [
      event(1, "2026-12-01T10:00:00Z", { type: "opened", member: member("a") }),
      event(2, "2026-12-01T10:00:05Z", {
        type: "suspect_found",
        suspect: {
          signal: "c",
          source: "github",
          title: "Deployment of main",
          service: "cart",
          at: "2026-12-01T09:40:00Z",
          before_ms: 1_200_000,
        },
      }),
      event(3, "2026-12-01T10:00:09Z", {
        type: "finding_added",
        by: "agent:log_analyst",
        finding: {
          kind: "out_of_memory",
          summary: "Memory ran out",
          facts: { first_at: "2026-12-01T09:55:00.123456789Z" },
          citations: [],
        },
      }),
      event(4, "2026-12-01T10:00:30Z", { type: "signal_joined", member: member("b") }),
    ],
  } as unknown as IncidentDetail;

  it("is in order of when it happened, not of when it was learned", () => {
    const steps = [
      { id: "s", agent: "log_analyst", status: "success", created_at: "2026-12-01T10:00:08Z", duration_ms: 20 },
    ] as unknown as StepView[];
    const remediations = [
      {
        id: "r",
        action: "restart",
        target: "deployment/cart",
        status: "denied",
        reason: "because",
        proposed_by: "agent:fixer",
        decided_by: "human:ann",
        note: "not now",
        created_at: "2026-12-01T10:01:00Z",
        updated_at: "2026-12-01T10:02:00Z",
      },
    ] as unknown as RemediationView[];
    const told = timelineOf(detail, steps, remediations).map(({ track, what, text }) => `${track}: ${what}: ${text}`);
    expect(told).toEqual([
      "changes: Change: Deployment of main",
      "logs: Out of memory: Memory ran out",
      "alerts: Opened by an alert: Alert a",
      "agents: Log analyst: done in 20 ms",
      "alerts: Alert joined: Alert b",
      "actions: Proposed: restart deployment/cart",
      "actions: Remediation: restart deployment/cart: denied",
    ]);
  });

  it("shows a fact that it does not know", () => {
    const younger = event(9, "2026-12-01T11:00:00Z", { type: "put_to_sleep" } as unknown as Fact);
    expect(timelineOf({ ...detail, events: [younger] }, [], [])[0]?.what).toBe("put to sleep");
  });
});
