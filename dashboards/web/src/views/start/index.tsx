import { useId, useState } from "react";

import { Page } from "../../ui/Page";
import { Tabs } from "../../ui/Tabs";
import { usePipeline } from "../pipeline/usePipeline";
import { Arrival } from "./Arrival";
import { Copy } from "./Copy";
import { type Snippet, dispatcherFor, readAddress, snippets } from "./snippets";
import styles from "./start.module.css";

/** How to connect the first sender, and whether it has arrived. */
export default function Start() {
  const { latest } = usePipeline();
  const usual = dispatcherFor(latest?.dispatcher ?? null, window.location.hostname);
  const [written, setWritten] = useState<string | null>(null);
  const typed = written ?? usual;
  const [chosen, setChosen] = useState("curl");
  const [openedAt] = useState(() => new Date());
  const field = useId();
  const hint = useId();
  const address = readAddress(typed);
  const all = snippets(address ?? { base: usual, hostPort: new URL(usual).host }, openedAt);
  return (
    <Page title="Connect a sender">
      <Arrival />
      <div className={styles.address}>
        <label htmlFor={field}>Address of the dispatcher, as the sender sees it</label>
        <input
          id={field}
          className="mono"
          value={typed}
          spellCheck={false}
          aria-invalid={address === null}
          aria-describedby={hint}
          onChange={(event) => setWritten(event.target.value)}
        />
        <p id={hint} className={address === null ? styles.refused : "muted small"}>
          {address === null ? (
            "Write it as http://HOST:PORT."
          ) : (
            <>
              {latest !== null && <Listens at={latest.dispatcher} />}
              Open it to others only behind TLS and with credentials.
            </>
          )}
        </p>
      </div>
      <Tabs
        label="Senders"
        value={chosen}
        onChange={setChosen}
        tabs={all.map((snippet) => ({ id: snippet.id, label: snippet.name, content: <How snippet={snippet} /> }))}
      />
    </Page>
  );
}

function Listens({ at }: { at: string | null }) {
  if (at === null) return "The instance that shows this page takes nothing from senders: name one that does. ";
  return (
    <>
      It listens on {at}, as <code>[dispatcher] listen</code> says.{" "}
    </>
  );
}

function How({ snippet }: { snippet: Snippet }) {
  return (
    <div className={styles.how}>
      <h2>{snippet.where}</h2>
      <Copy label={`${snippet.name}: what to paste`} text={snippet.text} />
      {snippet.settings !== undefined && (
        <>
          <h2>aegis.toml</h2>
          <Copy label={`${snippet.name}: settings of Aegis`} text={snippet.settings} />
        </>
      )}
      {snippet.note !== undefined && <p className="muted">{snippet.note}</p>}
      {snippet.settings === undefined && (
        <p className="muted small">
          If the settings name a token for this sender, it must send it: <code>Authorization: Bearer TOKEN</code>.
        </p>
      )}
    </div>
  );
}
