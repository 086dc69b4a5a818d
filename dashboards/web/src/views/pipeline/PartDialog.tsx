import { Dialog } from "../../ui/Dialog";
import { Time } from "../../ui/Time";
import type { PartitionView, SinkView, StageCounts, StageView } from "../../api/shapes";
import { amount } from "./format";
import styles from "./pipeline.module.css";

const WORDS: readonly (readonly [keyof StageCounts, string])[] = [
  ["bodies", "Bodies read"],
  ["items_in", "Items in them"],
  ["released", "Held before, counted otherwise now"],
  ["forwarded", "Forwarded"],
  ["merged", "Merged: repeats"],
  ["suppressed", "Suppressed"],
  ["late", "Late"],
  ["dead_lettered", "Dead-lettered"],
  ["held", "Held"],
  ["produced", "Rows that no single item became"],
];

interface PartDialogProps {
  stage: StageView | undefined;
  sink: SinkView | undefined;
  onClose: () => void;
}

/** A stage or a sink in full: its books and its partitions. */
export function PartDialog({ stage, sink, onClose }: PartDialogProps) {
  const part = stage ?? sink;
  return (
    <Dialog open={part !== undefined} wide title={stage?.stage ?? sink?.sink ?? ""} onClose={onClose}>
      {part?.trouble != null && <p className={styles.trouble}>{part.trouble}</p>}
      {part?.waiting != null && <p className="muted">{part.waiting}</p>}
      {stage !== undefined && <Books stage={stage} />}
      {part !== undefined && <Partitions partitions={part.partitions} />}
    </Dialog>
  );
}

function Books({ stage }: { stage: StageView }) {
  return (
    <section>
      <h3>Since the process started</h3>
      <p className="muted small">
        {stage.balanced
          ? "Balanced: what came in and was released is what went somewhere."
          : "Off balance: something that came in is not accounted for. `aegis audit conservation` counts it again."}
      </p>
      <table>
        <tbody>
          {WORDS.map(([key, word]) => (
            <tr key={key}>
              <th scope="row">{word}</th>
              <td className="numeric">{amount(stage.counts[key])}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}

function Partitions({ partitions }: { partitions: readonly PartitionView[] }) {
  if (partitions.length === 0) return <p className="muted">No partition is assigned to this process.</p>;
  return (
    <section>
      <h3>Partitions</h3>
      <table>
        <thead>
          <tr>
            <th scope="col">Partition</th>
            <th scope="col" className="numeric">
              Position
            </th>
            <th scope="col" className="numeric">
              Lag
            </th>
            <th scope="col">Watermark</th>
          </tr>
        </thead>
        <tbody>
          {partitions.map(({ topic, partition, position, lag, watermark }) => (
            <tr key={`${topic}/${partition}`}>
              <th scope="row" className="mono">{`${topic}/${partition}`}</th>
              <td className="numeric">{amount(position)}</td>
              <td className="numeric">{amount(lag)}</td>
              <td>{watermark === null ? <span className="muted">none</span> : <Time at={watermark} />}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}
