import { useId } from "react";

import type { IncidentView } from "../api/shapes";
import { Button } from "../ui/Button";
import { Dialog } from "../ui/Dialog";
import { toast } from "../ui/toasts";
import { SilenceForm } from "./SilenceForm";
import { useDeclare } from "./useSilences";
import { instant } from "./words";

interface SilenceDialogProps {
  open: boolean;
  /** It begins with this incident. */
  incident?: IncidentView | null;
  onClose: () => void;
}

/** Declares a silence. */
export function SilenceDialog({ open, incident = null, onClose }: SilenceDialogProps) {
  const form = useId();
  const declare = useDeclare(({ ends_at }) => {
    onClose();
    toast(`Silenced until ${instant(ends_at, Date.now())}.`);
  });
  const close = () => {
    declare.reset();
    onClose();
  };
  return (
    <Dialog
      open={open}
      title={incident === null ? "New silence" : "Silence this incident"}
      onClose={close}
      actions={
        <>
          <Button onClick={close}>Back</Button>
          <Button look="primary" type="submit" form={form} busy={declare.isPending}>
            Silence
          </Button>
        </>
      }
    >
      <SilenceForm
        id={form}
        incident={incident}
        refused={declare.error}
        onSend={(body) => {
          if (!declare.isPending) declare.mutate(body);
        }}
      />
    </Dialog>
  );
}
