import { useState } from "react";

import type { IncidentView } from "../../api/shapes";
import { SilenceDialog } from "../../silences/SilenceDialog";
import { RoleButton } from "../../ui/Button";

interface SilenceActionProps {
  incident: IncidentView;
  /** Why it needs no silence any more. */
  unavailable: string | null;
}

/** Holds back messages about the incident, or about all where it is. */
export function SilenceAction({ incident, unavailable }: SilenceActionProps) {
  const [open, setOpen] = useState(false);
  return (
    <>
      <RoleButton role="responder" unavailable={unavailable} onClick={() => setOpen(true)}>
        Silence…
      </RoleButton>
      <SilenceDialog open={open} incident={incident} onClose={() => setOpen(false)} />
    </>
  );
}
