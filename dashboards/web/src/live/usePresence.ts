import { useMemo, useSyncExternalStore } from "react";

import { incidentsLive } from "./channels";
import { Presence } from "./presence";

/** The names of those that look at an incident, oneself among them; as long as this is used, one looks at it. */
export function usePresence(incident: string): readonly string[] {
  const presence = useMemo(() => new Presence(incidentsLive, incident), [incident]);
  return useSyncExternalStore(presence.subscribe, presence.get);
}
