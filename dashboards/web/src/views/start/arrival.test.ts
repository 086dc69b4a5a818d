import { describe, expect, it } from "vitest";

import type { PipelineView } from "../../api/shapes";
import { arrivalOf } from "./arrival";

const view = (senders: PipelineView["senders"]): PipelineView => ({
  at: "",
  stages: [],
  sinks: [],
  senders,
  dispatcher: "127.0.0.1:3001",
  degraded: {},
});

describe("arrivalOf", () => {
  it("knows nothing before it is told", () => {
    expect(arrivalOf(null)).toEqual({ taken: 0, refused: 0, senders: [] });
  });

  it("counts what was taken and what was refused", () => {
    const arrived = arrivalOf(
      view([
        { sender: "grafana", requests: 2, refused: 2, last_at: "2026-12-01T00:02:00Z" },
        { sender: "alertmanager", requests: 3, refused: 1, last_at: "2026-12-01T00:00:00Z" },
        { sender: "events", requests: 1, refused: 0, last_at: "2026-12-01T00:01:00Z" },
      ]),
    );
    expect(arrived.taken).toBe(3);
    expect(arrived.refused).toBe(3);
    expect(arrived.senders.map(({ sender }) => sender)).toEqual(["events", "alertmanager"]);
  });
});
