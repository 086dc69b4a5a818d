import { useQueryClient } from "@tanstack/react-query";
import { useEffect } from "react";

import type { Connection as State } from "../live/channel";
import { incidentsLive } from "../live/channels";
import { useLive } from "../live/useLive";
import { meQuery } from "../session/useMe";
import styles from "./Layout.module.css";

const LOOKS: Record<State, { word: string; title: string; className: string | undefined }> = {
  off: { word: "Connecting", title: "Not live yet; until then lists are asked for every few seconds.", className: styles.connecting },
  connecting: {
    word: "Connecting again",
    title: "The live connection is cut. What you see may be out of date; nothing is missed once it is back.",
    className: styles.connecting,
  },
  live: { word: "Live", title: "Changes appear by themselves.", className: styles.live },
  "signed-out": { word: "Signed out", title: "The session is over. Sign in again.", className: styles.gone },
};

/** How the live connection stands. */
export function Connection() {
  const { connection, ready } = useLive(incidentsLive);
  const client = useQueryClient();
  useEffect(() => {
    if (connection === "signed-out") void client.invalidateQueries({ queryKey: meQuery.queryKey });
  }, [client, connection]);
  const { word, title, className } = LOOKS[connection === "connecting" && !ready ? "off" : connection];
  return (
    <span className={`${styles.connection} ${className}`} title={title} role="status">
      <span className={styles.dot} aria-hidden="true" />
      {word}
    </span>
  );
}
