import type { PipelineView, SenderView } from "../../api/shapes";

export interface Arrived {
  /** Requests that were taken. */
  taken: number;
  refused: number;
  /** Whose requests were taken, those heard last first. */
  senders: SenderView[];
}

/** What has come in since the process started. */
export function arrivalOf(view: PipelineView | null): Arrived {
  const all = view?.senders ?? [];
  const refused = all.reduce((sum, sender) => sum + sender.refused, 0);
  const taken = all.reduce((sum, { requests, refused: not }) => sum + Math.max(0, requests - not), 0);
  const senders = all
    .filter(({ requests, refused: not }) => requests > not)
    .sort((left, right) => (right.last_at ?? "").localeCompare(left.last_at ?? ""));
  return { taken, refused, senders };
}
