import type { FieldChange } from "./diff";
import styles from "./control.module.css";

interface DiffProps {
  caption: string;
  changes: readonly FieldChange[];
  /** Lines that are no field. */
  notes?: readonly string[];
}

/** Fields that change, before and after. */
export function Diff({ caption, changes, notes = [] }: DiffProps) {
  return (
    <div className={styles.diff}>
      {changes.length > 0 && (
        <table>
          <caption className="hidden">{caption}</caption>
          <thead>
            <tr>
              <th scope="col">Field</th>
              <th scope="col">Before</th>
              <th scope="col">After</th>
            </tr>
          </thead>
          <tbody>
            {changes.map(({ path, before, after }) => (
              <tr key={path}>
                <th scope="row" className="mono wrap">
                  {path}
                </th>
                <td className="mono wrap">
                  {before === null ? <span className="muted">not there</span> : <del>{before}</del>}
                </td>
                <td className="mono wrap">
                  {after === null ? <span className="muted">not there</span> : <ins>{after}</ins>}
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
      {notes.length > 0 && <pre>{notes.join("\n")}</pre>}
    </div>
  );
}
