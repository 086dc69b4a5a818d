import type { PipelineView } from "../../api/shapes";

export type NodeKind = "topic" | "stage" | "sink";

export interface FlowNode {
  id: string;
  kind: NodeKind;
  name: string;
}

export interface FlowEdge {
  id: string;
  from: string;
  to: string;
  /** It goes to a topic that a stage further up reads, or the same stage. */
  back: boolean;
}

export interface Flow {
  nodes: FlowNode[];
  edges: FlowEdge[];
}

/** Topics that almost every stage writes to. Their arrows would hide the way that an alert goes. */
export const SIDE_TOPICS: ReadonlySet<string> = new Set(["dead-letter", "late", "accounting", "progress"]);

/** Topics, stages (upstream first) and sinks, and what goes from where to where. A sink of side topics alone goes with them. */
export function flowOf(view: PipelineView, withSideTopics: boolean): Flow {
  const nodes = new Map<string, FlowNode>();
  const edges = new Map<string, FlowEdge>();
  const add = (kind: NodeKind, name: string) => {
    const id = `${kind}:${name}`;
    nodes.set(id, { id, kind, name });
    return id;
  };
  const link = (from: string, to: string, back = false) =>
    edges.set(`${from}>${to}`, { id: `${from}>${to}`, from, to, back });
  const shown = (topic: string) => withSideTopics || !SIDE_TOPICS.has(topic);

  const readSoFar = new Set<string>();
  for (const stage of view.stages) {
    const id = add("stage", stage.stage);
    for (const topic of stage.inputs) readSoFar.add(topic);
    for (const topic of stage.inputs.filter(shown)) link(add("topic", topic), id);
    for (const topic of stage.outputs.filter(shown)) link(id, add("topic", topic), readSoFar.has(topic));
  }
  for (const sink of view.sinks) {
    const topics = [...new Set(sink.partitions.map(({ topic }) => topic))].filter(shown);
    if (topics.length === 0 && sink.partitions.length > 0) continue;
    const id = add("sink", sink.sink);
    for (const topic of topics) link(add("topic", topic), id);
  }
  return { nodes: [...nodes.values()], edges: [...edges.values()] };
}
