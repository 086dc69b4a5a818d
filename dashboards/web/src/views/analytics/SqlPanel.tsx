import { useMutation } from "@tanstack/react-query";
import { type KeyboardEvent, useId, useState } from "react";

import { messageOf } from "../../api/error";
import type { SqlAnswer } from "../../api/shapes";
import { Button } from "../../ui/Button";
import { type Column, DataTable } from "../../ui/DataTable";
import { cellText, toCsv } from "./csv";
import { save } from "./save";
import { runSql } from "./useSql";
import styles from "./analytics.module.css";

const ROW_HEIGHT = 28;
/** Of the head, with room for a scroll bar. */
const HEAD_HEIGHT = 48;
const MOST_HEIGHT = 420;

interface SqlPanelProps {
  query: string;
  onClose: () => void;
}

/** A statement that can be changed and run, and its rows. */
export function SqlPanel({ query, onClose }: SqlPanelProps) {
  const [text, setText] = useState(query);
  const heading = useId();
  const field = useId();
  const ask = useMutation({ mutationFn: (statement: string) => runSql(statement) });
  const run = () => {
    if (text.trim() !== "" && !ask.isPending) ask.mutate(text);
  };
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      run();
    }
  };
  return (
    <section className={`card ${styles.sql}`} aria-labelledby={heading}>
      <header className={styles.panelHead}>
        <h2 id={heading} className="grow">
          SQL
        </h2>
        <Button size="small" look="quiet" onClick={onClose}>
          Close
        </Button>
      </header>
      <label htmlFor={field} className="muted small">
        It only reads: signals, alerts, changes, incidents, incident_events, executions, remediations, dead_letters,
        pipeline_metrics, and counts of them by minute, hour and day. Ctrl+Enter runs it.
      </label>
      <textarea
        id={field}
        className={`mono ${styles.editor}`}
        value={text}
        spellCheck={false}
        autoComplete="off"
        rows={Math.min(18, Math.max(6, text.split("\n").length + 1))}
        onChange={(event) => setText(event.target.value)}
        onKeyDown={onKeyDown}
      />
      <div className="row">
        <Button look="primary" busy={ask.isPending} onClick={run}>
          Run
        </Button>
        {ask.data !== undefined && (
          <Button onClick={() => save("aegis.csv", "text/csv", toCsv(ask.data))}>Download CSV</Button>
        )}
        <span className="muted" role="status">
          {ask.isPending && "Running…"}
          {ask.isSuccess && said(ask.data)}
        </span>
      </div>
      {ask.isError && (
        <pre role="alert" className={styles.fault}>
          {messageOf(ask.error)}
        </pre>
      )}
      {ask.data !== undefined && ask.data.rows.length > 0 && <Rows answer={ask.data} />}
    </section>
  );
}

function said({ rows, elapsed_ms }: SqlAnswer): string {
  const count = `${rows.length.toLocaleString()} ${rows.length === 1 ? "row" : "rows"}`;
  return `${count} in ${Math.round(elapsed_ms)} ms`;
}

function Rows({ answer }: { answer: SqlAnswer }) {
  const columns: Column<unknown[]>[] = answer.columns.map(({ name, type }, index) => ({
    id: `${index} ${name}`,
    header: <span title={type}>{name}</span>,
    width: "minmax(120px, 1fr)",
    cell: (row) => {
      const text = cellText(row[index]);
      return row[index] === null ? <span className="muted">null</span> : <span title={text}>{text}</span>;
    },
  }));
  const height = Math.min(MOST_HEIGHT, HEAD_HEIGHT + answer.rows.length * ROW_HEIGHT);
  return (
    <div style={{ height }}>
      <DataTable
        label="Rows of the answer"
        className={styles.rows}
        columns={columns}
        rows={answer.rows}
        keyOf={(_, index) => String(index)}
        rowHeight={ROW_HEIGHT}
        leastWidth={answer.columns.length * 132}
      />
    </div>
  );
}
