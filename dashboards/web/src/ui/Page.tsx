import { type ReactNode, useEffect } from "react";

import styles from "./Page.module.css";

interface PageProps {
  /** Of the browser's tab, and the heading unless there is one. */
  title: string;
  heading?: ReactNode;
  /** Beside the heading, at its end. */
  aside?: ReactNode;
  /** It takes the height of the window, and scrolls inside. */
  fill?: boolean;
  children: ReactNode;
}

/** A view: its heading and what it holds. */
export function Page({ title, heading, aside, fill = false, children }: PageProps) {
  useEffect(() => {
    document.title = `${title} · Aegis`;
  }, [title]);
  return (
    <div className={fill ? `${styles.page} ${styles.fill}` : styles.page}>
      <div className={styles.head}>
        <div className="grow">{heading ?? <h1>{title}</h1>}</div>
        {aside}
      </div>
      {children}
    </div>
  );
}
