import { duration } from "../../ui/time";
import { HealthBadge } from "./HealthBadge";
import { amount, perSecond } from "./format";
import type { Part } from "./parts";
import styles from "./pipeline.module.css";

interface TableProps {
  parts: readonly Part[];
  onOpen: (id: string) => void;
}

/** The same as the map, for reading and for screen readers. */
export function PartTable({ parts, onOpen }: TableProps) {
  return (
    <div className={`card ${styles.table}`}>
      <table>
        <caption className="hidden">Stages and sinks</caption>
        <thead>
          <tr>
            <th scope="col">Part</th>
            <th scope="col">Standing</th>
            <th scope="col" className="numeric">
              In
            </th>
            <th scope="col" className="numeric">
              Out
            </th>
            <th scope="col" className="numeric">
              Lag
            </th>
            <th scope="col" className="numeric">
              Event time behind
            </th>
            <th scope="col" className="numeric">
              Held now
            </th>
            <th scope="col" className="numeric">
              Late
            </th>
            <th scope="col" className="numeric">
              Dead-lettered
            </th>
            <th scope="col">Books</th>
          </tr>
        </thead>
        <tbody>
          {parts.map((part) => (
            <Row key={part.id} part={part} onOpen={onOpen} />
          ))}
        </tbody>
      </table>
    </div>
  );
}

function Row({ part, onOpen }: { part: Part; onOpen: (id: string) => void }) {
  const counts = part.books?.counts;
  const of = (count: number | undefined) => (count === undefined ? <span className="muted">–</span> : amount(count));
  const said = part.trouble ?? part.waiting;
  return (
    <tr>
      <th scope="row">
        <button type="button" className={styles.name} onClick={() => onOpen(part.id)}>
          {part.name}
        </button>{" "}
        <span className="muted">{part.kind}</span>
        {said !== null && <p className={`small wrap ${part.trouble === null ? "muted" : styles.trouble}`}>{said}</p>}
      </th>
      <td>
        <HealthBadge health={part.health} />
      </td>
      <td className="numeric">{perSecond(part.rateIn)}</td>
      <td className="numeric">{part.kind === "sink" ? <span className="muted">–</span> : perSecond(part.rateOut)}</td>
      <td className="numeric">{amount(part.standing.lag)}</td>
      <td className="numeric">{part.standing.behindMs === null ? "–" : duration(part.standing.behindMs)}</td>
      <td className="numeric">{of(counts === undefined ? undefined : Math.max(0, counts.held - counts.released))}</td>
      <td className="numeric">{of(counts?.late)}</td>
      <td className="numeric">{of(counts?.dead_lettered)}</td>
      <td>
        {part.books === null ? <span className="muted">–</span> : part.books.balanced ? "balanced" : "off balance"}
      </td>
    </tr>
  );
}
