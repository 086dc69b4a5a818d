import { useSearchParams } from "react-router";

import { useSilences } from "../../silences/useSilences";
import { Badge } from "../../ui/Badge";
import { Page } from "../../ui/Page";
import { Tabs } from "../../ui/Tabs";
import { Approvals } from "./Approvals";
import { History } from "./History";
import { Letters } from "./Letters";
import { Senders } from "./Senders";
import { Silences } from "./Silences";
import { StopSwitch, useStopped } from "./StopSwitch";
import { useFreshRemediations, useRemediations } from "./useRemediations";

const FIRST = "approvals";

/** What people decide: approvals, the stop switch, silences, dead letters. */
export default function Control() {
  const [params, setParams] = useSearchParams();
  useFreshRemediations();
  const { stopped } = useStopped();
  const waiting = useRemediations("waiting").data?.pages.flatMap((page) => page.remediations).length ?? 0;
  const silent = useSilences(false).data?.filter(({ state }) => state === "active").length ?? 0;
  const tabs = [
    {
      id: FIRST,
      label: waiting === 0 ? "Approvals" : `Approvals (${waiting})`,
      content: <Approvals wanted={params.get("remediation")} />,
    },
    { id: "history", label: "History", content: <History /> },
    { id: "stop", label: "Stop switch", content: <StopSwitch /> },
    { id: "silences", label: silent === 0 ? "Silences" : `Silences (${silent})`, content: <Silences /> },
    { id: "senders", label: "Senders", content: <Senders /> },
    { id: "letters", label: "Dead letters", content: <Letters /> },
  ];
  const wanted = params.get("tab");
  const tab = tabs.some(({ id }) => id === wanted) && wanted !== null ? wanted : FIRST;
  return (
    <Page
      title="Control"
      aside={
        stopped === true && (
          <Badge tone="critical" shape="pause">
            The stop switch is on
          </Badge>
        )
      }
    >
      <Tabs label="Control" tabs={tabs} value={tab} onChange={(id) => setParams(id === FIRST ? {} : { tab: id })} />
    </Page>
  );
}
