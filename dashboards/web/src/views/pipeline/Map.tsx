import { Background, Controls, type Edge, Handle, type Node, type NodeProps, Position, ReactFlow } from "@xyflow/react";
import "@xyflow/react/dist/style.css";
import { createContext, use, useMemo } from "react";

import { Badge } from "../../ui/Badge";
import { duration } from "../../ui/time";
import { useTheme } from "../../ui/theme";
import { HealthBadge } from "./HealthBadge";
import { amount, perSecond } from "./format";
import type { Flow, FlowNode } from "./graph";
import { NODE_SIZE, place } from "./layout";
import type { Part } from "./parts";
import styles from "./pipeline.module.css";

/** Figures change each second; the nodes that show them do not, so they come by a context. */
const Parts = createContext<ReadonlyMap<string, Part>>(new Map());

type MapNode = Node<{ node: FlowNode }>;

/** Above and below the nodes. */
const ROOM = 12;

const NODE_TYPES = { topic: TopicNode, stage: PartNode, sink: PartNode };

interface MapProps {
  flow: Flow;
  parts: readonly Part[];
  onOpen: (id: string) => void;
}

/** The pipeline as a map: drag to move, Ctrl and wheel to zoom; Tab goes through its stages and sinks, Enter opens one. */
export function PipelineMap({ flow, parts, onOpen }: MapProps) {
  const theme = useTheme();
  const { nodes, edges, height } = useMemo(() => drawn(flow), [flow]);
  const byId = useMemo(() => new Map(parts.map((part) => [part.id, part])), [parts]);
  return (
    <Parts value={byId}>
      <div className={styles.map} style={{ height }} role="region" aria-label="Map of the pipeline">
        <ReactFlow
          nodes={nodes}
          edges={edges}
          nodeTypes={NODE_TYPES}
          colorMode={theme === "system" ? "system" : theme}
          fitView
          fitViewOptions={{ padding: `${ROOM}px`, maxZoom: 1 }}
          minZoom={0.2}
          maxZoom={1.5}
          nodesDraggable={false}
          nodesConnectable={false}
          nodesFocusable
          edgesFocusable={false}
          elementsSelectable={false}
          preventScrolling={false}
          zoomOnScroll={false}
          zoomActivationKeyCode={["Control", "Meta"]}
          onNodeClick={(_, node) => onOpen(node.id)}
          onKeyDown={(event) => {
            const id = (event.target as Element).closest<HTMLElement>(".react-flow__node")?.dataset["id"];
            if (id === undefined || (event.key !== "Enter" && event.key !== " ")) return;
            event.preventDefault();
            onOpen(id);
          }}
        >
          <Background gap={22} />
          <Controls showInteractive={false} />
        </ReactFlow>
      </div>
    </Parts>
  );
}

function drawn(flow: Flow): { nodes: MapNode[]; edges: Edge[]; height: number } {
  const { places, height } = place(flow);
  return {
    height: height + 2 * ROOM,
    nodes: flow.nodes.map((node) => ({
      id: node.id,
      type: node.kind,
      position: places.get(node.id) ?? { x: 0, y: 0 },
      width: NODE_SIZE[node.kind].width,
      height: NODE_SIZE[node.kind].height,
      focusable: node.kind !== "topic",
      ariaRole: node.kind === "topic" ? "img" : "button",
      ariaLabel: `${node.kind} ${node.name}`,
      data: { node },
    })),
    edges: flow.edges.map(({ id, from, to, back }) => ({
      id,
      source: from,
      target: to,
      focusable: false,
      ...handles(to, back),
    })),
  };
}

/** Sinks stand beside, so lines to them leave at the right; what goes back up does so at the left, dashed. */
function handles(to: string, back: boolean): Partial<Edge> {
  if (back) return { sourceHandle: "back", targetHandle: "back", style: { strokeDasharray: "4 4" } };
  if (to.startsWith("sink:")) return { sourceHandle: "aside", targetHandle: "aside" };
  return { sourceHandle: "down", targetHandle: "down" };
}

function Ends() {
  const end = { isConnectable: false, className: styles.end ?? "" };
  return (
    <>
      <Handle id="down" type="target" position={Position.Top} {...end} />
      <Handle id="down" type="source" position={Position.Bottom} {...end} />
      <Handle id="aside" type="target" position={Position.Left} {...end} />
      <Handle id="aside" type="source" position={Position.Right} {...end} />
      <Handle id="back" type="target" position={Position.Left} {...end} />
      <Handle id="back" type="source" position={Position.Left} {...end} />
    </>
  );
}

function TopicNode({ data }: NodeProps<MapNode>) {
  return (
    <div className={styles.topic}>
      <Ends />
      <span className="mono">{data.node.name}</span>
    </div>
  );
}

function PartNode({ data }: NodeProps<MapNode>) {
  const part = use(Parts).get(data.node.id);
  return (
    <div className={styles.part} data-health={part?.health}>
      <Ends />
      <div className={styles.partHead}>
        <strong>{data.node.name}</strong>
        {part !== undefined && <HealthBadge health={part.health} />}
      </div>
      {part !== undefined && <Figures part={part} />}
    </div>
  );
}

function Figures({ part }: { part: Part }) {
  const { standing, books } = part;
  return (
    <>
      <div className={styles.figures}>
        <span>
          {perSecond(part.rateIn)}
          {part.kind === "stage" && ` → ${perSecond(part.rateOut)}`}
        </span>
        <span>lag {amount(standing.lag)}</span>
      </div>
      {books !== null && (
        <div className={styles.figures}>
          <span>{standing.behindMs === null ? "no watermark" : `${duration(standing.behindMs)} behind`}</span>
          {books.balanced ? (
            <span className="muted">balanced</span>
          ) : (
            <Badge tone="critical" shape="cross">
              off balance
            </Badge>
          )}
        </div>
      )}
    </>
  );
}
