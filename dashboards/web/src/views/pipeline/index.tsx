import { useMemo, useState } from "react";

import type { PipelineView } from "../../api/shapes";
import { Badge } from "../../ui/Badge";
import { Page } from "../../ui/Page";
import { ErrorState, Skeleton } from "../../ui/states";
import { PipelineMap } from "./Map";
import { PartDialog } from "./PartDialog";
import { PartTable } from "./PartTable";
import { flowOf } from "./graph";
import { partsOf } from "./parts";
import { usePipeline } from "./usePipeline";
import styles from "./pipeline.module.css";

/** What flows where, how fast, and what stands in its way. */
export default function Pipeline() {
  const { latest, samples, asked } = usePipeline();
  const [side, setSide] = useState(false);
  const [open, setOpen] = useState<string | null>(null);
  return (
    <Page
      title="Pipeline"
      aside={
        <label className={`row ${styles.side}`}>
          <input type="checkbox" checked={side} onChange={(event) => setSide(event.target.checked)} />
          Side topics: dead letters, late, accounting
        </label>
      }
    >
      {latest === null && !asked.isError && <Skeleton />}
      {latest === null && asked.isError && (
        <ErrorState title="The pipeline could not be read" error={asked.error} onRetry={() => void asked.refetch()} />
      )}
      {latest !== null && (
        <>
          <Degraded degraded={latest.degraded} />
          <Flowing view={latest} samples={samples} side={side} onOpen={setOpen} />
          <PartDialog
            stage={latest.stages.find(({ stage }) => `stage:${stage}` === open)}
            sink={latest.sinks.find(({ sink }) => `sink:${sink}` === open)}
            onClose={() => setOpen(null)}
          />
        </>
      )}
    </Page>
  );
}

interface FlowingProps {
  view: PipelineView;
  samples: readonly PipelineView[];
  side: boolean;
  onOpen: (id: string) => void;
}

function Flowing({ view, samples, side, onOpen }: FlowingProps) {
  const flow = flowOf(view, side);
  // Samples come each second, the same parts in each: the map is laid out anew only when there are others.
  const shape = JSON.stringify(flow);
  const steady = useMemo(() => JSON.parse(shape) as typeof flow, [shape]);
  const parts = partsOf(samples, view);
  return (
    <>
      <PipelineMap key={shape} flow={steady} parts={parts} onOpen={onOpen} />
      <PartTable parts={parts} onOpen={onOpen} />
      <p className="muted small">Counts are since the process started.</p>
    </>
  );
}

function Degraded({ degraded }: { degraded: Record<string, string> }) {
  const entries = Object.entries(degraded);
  if (entries.length === 0) return null;
  return (
    <section className={`card ${styles.degraded}`} aria-label="Degraded" role="status">
      <Badge tone="warning" shape="triangle">
        Degraded
      </Badge>
      <dl>
        {entries.map(([part, why]) => (
          <div key={part}>
            <dt>{part}</dt>
            <dd className="wrap">{why}</dd>
          </div>
        ))}
      </dl>
    </section>
  );
}
