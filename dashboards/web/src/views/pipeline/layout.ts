import dagre from "@dagrejs/dagre";

import type { Flow, FlowNode } from "./graph";

export const NODE_SIZE = {
  topic: { width: 124, height: 26 },
  stage: { width: 196, height: 78 },
  sink: { width: 200, height: 52 },
} as const;

export interface Placed {
  x: number;
  y: number;
}

export interface Layout {
  places: ReadonlyMap<string, Placed>;
  width: number;
  height: number;
}

const MARGIN = 6;
/** Between topics and the sinks beside them: room for the lines to part. */
const AISLE = 150;
const SINK_GAP = 12;

/**
 * Where each node stands: topics and stages from top to bottom, as records go, and the sinks beside them, each about as
 * high as the topics that it reads. What goes back up does not count.
 */
export function place(flow: Flow): Layout {
  const sinks = flow.nodes.filter(({ kind }) => kind === "sink");
  const spine = flow.nodes.filter(({ kind }) => kind !== "sink");
  const inSpine = new Set(spine.map(({ id }) => id));
  const graph = new dagre.graphlib.Graph();
  graph.setGraph({ rankdir: "TB", nodesep: 28, ranksep: 20, marginx: MARGIN, marginy: MARGIN });
  graph.setDefaultEdgeLabel(() => ({}));
  for (const node of spine) graph.setNode(node.id, { ...NODE_SIZE[node.kind] });
  for (const { from, to, back } of flow.edges) {
    if (!back && inSpine.has(from) && inSpine.has(to)) graph.setEdge(from, to);
  }
  dagre.layout(graph);
  const places = new Map<string, Placed>();
  for (const { id, kind } of spine) {
    const { x, y } = graph.node(id);
    places.set(id, { x: x - NODE_SIZE[kind].width / 2, y: y - NODE_SIZE[kind].height / 2 });
  }
  const { width = 0, height = 0 } = graph.graph();
  if (sinks.length === 0) return { places, width, height };
  const column = height - 2 * MARGIN;
  const { height: sinkHeight, width: sinkWidth } = NODE_SIZE.sink;
  const step = Math.max(sinkHeight + SINK_GAP, column / sinks.length);
  [...sinks]
    .sort((left, right) => heightOf(left, flow, places) - heightOf(right, flow, places))
    .forEach((sink, index) => {
      const y = MARGIN + index * step + Math.min(step, column / sinks.length) / 2 - sinkHeight / 2;
      places.set(sink.id, { x: width + AISLE, y: Math.max(MARGIN, y) });
    });
  const bottom = Math.max(...[...places.values()].map(({ y }) => y)) + sinkHeight + MARGIN;
  return { places, width: width + AISLE + sinkWidth + MARGIN, height: Math.max(height, bottom) };
}

/** The mean height of the topics that a sink reads. */
function heightOf(sink: FlowNode, flow: Flow, places: ReadonlyMap<string, Placed>): number {
  const heights = flow.edges.filter(({ to }) => to === sink.id).map(({ from }) => places.get(from)?.y ?? 0);
  return heights.length === 0 ? 0 : heights.reduce((sum, y) => sum + y, 0) / heights.length;
}
