import type { SqlAnswer } from "../../api/shapes";
import { duration } from "../../ui/time";
import { numberOf, timeOf } from "./answers";
import { cellText } from "./csv";
import styles from "./analytics.module.css";

const WHOLE = new Intl.NumberFormat();

/** Columns that hold seconds, in the statements of the panels. */
const SECONDS = new Set(["detect", "acknowledge", "resolve", "seconds"]);

/** The same figures as in the chart, to be read. */
export function ChartTable({ title, answer }: { title: string; answer: SqlAnswer }) {
  return (
    // eslint-disable-next-line jsx-a11y/no-noninteractive-tabindex -- it scrolls, so the keyboard must reach it
    <div className={styles.tableScroll} tabIndex={0} role="region" aria-label={`${title}: table`}>
      <table>
        <caption className="hidden">{title}</caption>
        <thead>
          <tr>
            {answer.columns.map(({ name }) => (
              <th key={name} scope="col" className={name === "time" || isName(answer, name) ? undefined : "numeric"}>
                {name.replaceAll("_", " ")}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {answer.rows.map((row, index) => (
            // Rows have no name of their own, and never move.
            <tr key={index}>
              {answer.columns.map(({ name }, column) => (
                <td key={name} className={name === "time" || isName(answer, name) ? "wrap" : "numeric"}>
                  {shown(name, row[column])}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function isName({ columns, rows }: SqlAnswer, name: string): boolean {
  const column = columns.findIndex((one) => one.name === name);
  return rows.some((row) => row[column] != null && numberOf(row[column]) === null);
}

function shown(name: string, cell: unknown): string {
  if (cell === null || cell === undefined) return "–";
  if (name === "time") {
    const at = timeOf(cell);
    return at === null ? cellText(cell) : new Date(at).toLocaleString();
  }
  const value = numberOf(cell);
  if (value === null) return cellText(cell);
  return SECONDS.has(name) ? duration(value * 1000) : WHOLE.format(value);
}
