import type { IncidentDetail } from "../../api/shapes";
import { Button } from "../../ui/Button";
import { toast } from "../../ui/toasts";

/** An incident may have thousands of events; a document of all of them would bring the page to a halt. */
const SHOWN = 200_000;

export function Raw({ detail }: { detail: IncidentDetail }) {
  const text = JSON.stringify(detail, null, 2);
  const copy = () => {
    navigator.clipboard.writeText(text).then(
      () => toast("Copied."),
      () => toast("The browser does not let this page copy.", "critical"),
    );
  };
  return (
    <div className="stack">
      <div className="row">
        <p className="grow muted">
          As <code>GET /api/v1/incidents/{detail.incident.id}</code> answers it.
        </p>
        <Button size="small" onClick={copy}>
          Copy
        </Button>
      </div>
      <details open>
        <summary>JSON</summary>
        {/* A long text scrolls by keyboard as well. */}
        {/* eslint-disable-next-line jsx-a11y/no-noninteractive-tabindex */}
        <pre tabIndex={0}>{text.slice(0, SHOWN)}</pre>
      </details>
      {text.length > SHOWN && <p className="muted">Cut here; “Copy” copies all of it.</p>}
    </div>
  );
}
