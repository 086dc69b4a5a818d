/** The views, in the order of the navigation. */
export interface Place {
  path: string;
  name: string;
  keys: string;
}

export const PLACES: readonly Place[] = [
  { path: "/incidents", name: "Incidents", keys: "g i" },
  { path: "/agents", name: "Agents", keys: "g a" },
  { path: "/control", name: "Control", keys: "g c" },
  { path: "/pipeline", name: "Pipeline", keys: "g p" },
  { path: "/analytics", name: "Analytics", keys: "g n" },
  { path: "/start", name: "Connect senders", keys: "g s" },
];
