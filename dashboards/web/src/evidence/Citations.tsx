import type { Citation } from "../api/shapes";
import { absolute } from "../ui/time";
import styles from "./evidence.module.css";
import { count } from "./words";

function span({ from, to }: Citation): string {
  return from === to ? absolute(from) : `${absolute(from)} – ${absolute(to)}`;
}

/** What a statement stands on: the question, the span of time, and the answer. */
export function Citations({ citations }: { citations: readonly Citation[] }) {
  if (citations.length === 0) return null;
  return (
    <details className={styles.citations}>
      <summary>{count(citations.length, "source")}</summary>
      <ul>
        {citations.map((citation) => (
          <li key={citation.id}>
            <div className="row small">
              <strong>{citation.source}</strong>
              <span className="muted">{span(citation)}</span>
            </div>
            <p className="wrap">{citation.excerpt}</p>
            <code className={styles.query}>{citation.query}</code>
          </li>
        ))}
      </ul>
    </details>
  );
}
