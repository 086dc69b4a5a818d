import { useVirtualizer } from "@tanstack/react-virtual";
import { type KeyboardEvent, type ReactNode, type Ref, useEffect, useImperativeHandle, useRef } from "react";

import styles from "./DataTable.module.css";

export interface Column<Row> {
  id: string;
  header: ReactNode;
  /** A track of the grid: `90px`, `minmax(160px, 2fr)`. */
  width: string;
  align?: "start" | "end";
  cell: (row: Row) => ReactNode;
}

export interface TableControl {
  /** Moves the active row, and the keyboard with it. */
  move: (by: number) => void;
}

interface DataTableProps<Row> {
  label: string;
  columns: readonly Column<Row>[];
  rows: readonly Row[];
  keyOf: (row: Row, index: number) => string;
  rowHeight?: number;
  /** Below this width the table scrolls sideways. */
  leastWidth?: number;
  /** The row that the keyboard stands on. */
  active?: string | null;
  onActive?: (key: string) => void;
  onOpen?: (row: Row) => void;
  /** Stands behind the last row, and scrolls along. */
  foot?: ReactNode;
  className?: string;
  control?: Ref<TableControl>;
}

/** Rows that a page moves by. */
const PAGE = 10;

/**
 * A table of any length of which only the rows in sight are in the document. Arrows, Home, End and the page keys move, Enter
 * opens.
 */
export function DataTable<Row>({
  label,
  columns,
  rows,
  keyOf,
  rowHeight = 34,
  leastWidth = 0,
  active = null,
  onActive,
  onOpen,
  foot,
  className,
  control,
}: DataTableProps<Row>) {
  const scroll = useRef<HTMLDivElement>(null);
  const focusWanted = useRef(false);
  // eslint-disable-next-line react-hooks/incompatible-library -- nothing of it is handed on
  const virtual = useVirtualizer({
    count: rows.length,
    getScrollElement: () => scroll.current,
    estimateSize: () => rowHeight,
    getItemKey: (index) => {
      const row = rows[index];
      return row === undefined ? index : keyOf(row, index);
    },
    overscan: 12,
  });
  const template = columns.map((column) => column.width).join(" ");
  const activeIndex = active === null ? -1 : rows.findIndex((row, index) => keyOf(row, index) === active);
  const reachable = activeIndex === -1 ? 0 : activeIndex;

  // New rows above move the active one; it is kept in sight only when the person moved it.
  const shown = useRef<string | null>(null);
  useEffect(() => {
    if (active === null || active === shown.current || activeIndex === -1) return;
    shown.current = active;
    virtual.scrollToIndex(activeIndex, { align: "auto" });
  }, [active, activeIndex, virtual]);

  const focusRow = (element: HTMLDivElement | null) => {
    if (element === null || !focusWanted.current) return;
    focusWanted.current = false;
    element.focus({ preventScroll: true });
  };

  const move = (to: number) => {
    const index = Math.max(0, Math.min(rows.length - 1, to));
    const row = rows[index];
    if (row === undefined) return;
    focusWanted.current = true;
    onActive?.(keyOf(row, index));
  };
  useImperativeHandle(control, () => ({ move: (by) => move(activeIndex === -1 ? 0 : activeIndex + by) }));

  const onKeyDown = (event: KeyboardEvent, row: Row, index: number) => {
    if (event.target !== event.currentTarget || event.altKey || event.ctrlKey || event.metaKey) return;
    const steps: Record<string, number> = {
      ArrowDown: index + 1,
      ArrowUp: index - 1,
      Home: 0,
      End: rows.length - 1,
      PageDown: index + PAGE,
      PageUp: index - PAGE,
    };
    const to = steps[event.key];
    if (to !== undefined && onActive !== undefined) {
      event.preventDefault();
      move(to);
    } else if (event.key === "Enter" && onOpen !== undefined) onOpen(row);
  };

  return (
    <div className={[styles.table, className].filter(Boolean).join(" ")}>
      {/* The rows are the stops of the keyboard; without rows there is nothing to scroll. */}
      <div ref={scroll} className={styles.scroll} style={{ ["--least-width" as string]: `${leastWidth}px` }}>
        <div role="grid" aria-label={label} aria-rowcount={rows.length + 1} aria-colcount={columns.length}>
          <div role="rowgroup">
            <div role="row" aria-rowindex={1} className={styles.head} style={{ gridTemplateColumns: template }}>
              {columns.map((column) => (
                <div
                  key={column.id}
                  role="columnheader"
                  className={column.align === "end" ? `${styles.cell} ${styles.end}` : styles.cell}
                >
                  {column.header}
                </div>
              ))}
            </div>
          </div>
          <div role="rowgroup" className={styles.body} style={{ height: virtual.getTotalSize() }}>
            {virtual.getVirtualItems().map((item) => {
              const row = rows[item.index];
              if (row === undefined) return null;
              const key = keyOf(row, item.index);
              return (
                <div
                  key={key}
                  ref={item.index === activeIndex ? focusRow : undefined}
                  role="row"
                  aria-rowindex={item.index + 2}
                  aria-selected={onActive === undefined ? undefined : item.index === activeIndex}
                  tabIndex={item.index === reachable ? 0 : -1}
                  data-key={key}
                  className={onOpen === undefined ? styles.line : `${styles.line} ${styles.opens}`}
                  style={{
                    height: rowHeight,
                    gridTemplateColumns: template,
                    transform: `translateY(${item.start}px)`,
                  }}
                  onClick={(event) => {
                    if ((event.target as Element).closest("a, button") !== null) return;
                    onActive?.(key);
                    onOpen?.(row);
                  }}
                  onKeyDown={(event) => onKeyDown(event, row, item.index)}
                >
                  {columns.map((column) => (
                    <div
                      key={column.id}
                      role="gridcell"
                      className={column.align === "end" ? `${styles.cell} ${styles.end}` : styles.cell}
                    >
                      {column.cell(row)}
                    </div>
                  ))}
                </div>
              );
            })}
          </div>
        </div>
        {foot}
      </div>
    </div>
  );
}
