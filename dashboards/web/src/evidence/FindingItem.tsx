import type { Finding } from "../api/shapes";
import { Citations } from "./Citations";
import styles from "./evidence.module.css";
import { findingName } from "./words";

export function FindingItem({ finding }: { finding: Finding }) {
  return (
    <div className={styles.finding}>
      <div className="muted small">{findingName(finding.kind)}</div>
      <div className="wrap">{finding.summary}</div>
      <Citations citations={finding.citations} />
    </div>
  );
}
