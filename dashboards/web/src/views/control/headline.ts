import type { RemediationView } from "../../api/shapes";
import { readProposal, sentence } from "./proposal";

/** What a remediation does and where, in one line. */
export function headlineOf(remediation: RemediationView): string {
  const { action } = readProposal(remediation.proposal);
  if (action !== null) return sentence(action);
  const place = remediation.namespace == null ? "" : ` in ${remediation.namespace}`;
  return `${remediation.action} ${remediation.target}${place}`;
}
