import { describe, expect, it } from "vitest";

import type { PartitionView, PipelineView, StageCounts } from "../../api/shapes";
import { perSecond } from "./format";
import { flowOf } from "./graph";
import { place } from "./layout";
import { partsOf } from "./parts";
import { stageRates } from "./rates";
import { healthOf, standingOf } from "./standing";

const partition = (more: Partial<PartitionView> = {}): PartitionView => ({
  topic: "signals",
  partition: 0,
  position: 0,
  lag: 0,
  watermark: null,
  caught_up_at: null,
  ...more,
});

const COUNTS: StageCounts = {
  bodies: 0,
  items_in: 0,
  forwarded: 0,
  merged: 0,
  suppressed: 0,
  late: 0,
  dead_lettered: 0,
  held: 0,
  released: 0,
  produced: 0,
};

function view(second: number, items: number, position: number): PipelineView {
  return {
    at: new Date(Date.UTC(2026, 11, 1, 0, 0, second)).toISOString(),
    stages: [
      {
        stage: "dedupe",
        inputs: ["signals"],
        outputs: ["transitions", "dead-letter", "accounting"],
        counts: { ...COUNTS, items_in: items, forwarded: items / 4, produced: items / 4 },
        balanced: true,
        partitions: [partition()],
        trouble: null,
        waiting: null,
      },
    ],
    sinks: [{ sink: "sql", partitions: [partition({ topic: "transitions", position })], trouble: null, waiting: null }],
    senders: [],
    dispatcher: "127.0.0.1:3001",
    degraded: {},
  };
}

describe("rates", () => {
  it("come of two samples", () => {
    expect(stageRates(view(0, 100, 0), view(2, 300, 0)).get("dedupe")).toEqual({ in: 100, out: 50 });
  });

  it("are not known of one sample, nor across a start", () => {
    expect(stageRates(null, view(2, 300, 0)).size).toBe(0);
    expect(stageRates(view(0, 300, 0), view(2, 10, 0)).size).toBe(0);
    expect(stageRates(view(2, 100, 0), view(2, 300, 0)).size).toBe(0);
  });

  it("of sinks come of their positions", () => {
    const [stage, sink] = partsOf([view(0, 0, 10), view(2, 0, 30)], view(2, 0, 30));
    expect(stage?.rateIn).toBe(0);
    expect(sink?.rateIn).toBe(10);
    expect(partsOf([view(0, 0, 10)], view(0, 0, 10)).every(({ rateIn }) => rateIn === null)).toBe(true);
  });

  it("are written as exact as they are worth", () => {
    expect([null, 0, 0.25, 9.96, 1234.5].map(perSecond)).toEqual(["–", "0/s", "0.3/s", "10.0/s", "1,235/s"]);
  });
});

describe("flowOf", () => {
  it("links topics, stages and sinks, side topics apart", () => {
    const flow = flowOf(view(0, 0, 0), false);
    expect(flow.nodes.map(({ id }) => id).sort()).toEqual([
      "sink:sql",
      "stage:dedupe",
      "topic:signals",
      "topic:transitions",
    ]);
    expect(flow.edges.map(({ id }) => id).sort()).toEqual([
      "stage:dedupe>topic:transitions",
      "topic:signals>stage:dedupe",
      "topic:transitions>sink:sql",
    ]);
    expect(flowOf(view(0, 0, 0), true).nodes).toHaveLength(6);
  });

  it("knows what goes back up", () => {
    const base = view(0, 0, 0);
    const [dedupe] = base.stages;
    if (dedupe === undefined) throw new Error("no stage");
    const crew = {
      ...dedupe,
      stage: "crew",
      inputs: ["incidents"],
      outputs: ["incidents", "signals", "notifications"],
    };
    const { edges } = flowOf({ ...base, stages: [dedupe, crew] }, false);
    expect(edges.filter(({ back }) => back).map(({ id }) => id)).toEqual([
      "stage:crew>topic:incidents",
      "stage:crew>topic:signals",
    ]);
  });

  it("is placed from top to bottom", () => {
    const { places } = place(flowOf(view(0, 0, 0), false));
    const y = (id: string) => places.get(id)?.y ?? Number.NaN;
    expect(y("topic:signals")).toBeLessThan(y("stage:dedupe"));
    expect(y("stage:dedupe")).toBeLessThan(y("topic:transitions"));
  });

  it("has the sinks beside", () => {
    const flow = flowOf(view(0, 0, 0), false);
    const { places, width, height } = place(flow);
    const right = Math.max(...flow.nodes.filter(({ kind }) => kind !== "sink").map(({ id }) => places.get(id)?.x ?? 0));
    expect(places.get("sink:sql")?.x).toBeGreaterThan(right);
    for (const { x, y } of places.values()) expect(x >= 0 && y >= 0 && x < width && y < height).toBe(true);
  });
});

describe("standing", () => {
  it("is that of the partition furthest behind", () => {
    const partitions = [
      partition({ lag: 3, watermark: "2026-12-01T00:00:00Z" }),
      partition({ lag: 4, watermark: "2026-12-01T00:00:50Z" }),
      partition(),
    ];
    expect(standingOf(partitions, "2026-12-01T00:01:00Z")).toEqual({ lag: 7, behindMs: 60_000, caughtUp: false });
    expect(standingOf([], "2026-12-01T00:01:00Z")).toEqual({ lag: 0, behindMs: null, caughtUp: true });
  });

  it("names the worst", () => {
    const standing = standingOf([], "2026-12-01T00:01:00Z");
    expect(healthOf({ trouble: null, waiting: null, standing })).toBe("well");
    expect(healthOf({ trouble: null, waiting: "no partitions", standing })).toBe("waiting");
    expect(healthOf({ trouble: null, waiting: null, standing: { ...standing, lag: 20_000 } })).toBe("behind");
    expect(healthOf({ trouble: "x", waiting: null, standing })).toBe("troubled");
    expect(healthOf({ trouble: null, waiting: null, balanced: false, standing })).toBe("troubled");
  });
});
