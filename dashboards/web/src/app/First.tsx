import { Navigate } from "react-router";

import { useIncidents } from "../live/useIncidents";
import { Skeleton } from "../ui/states";

/** The way in: the incidents, or how to connect a sender where none ever told of any. */
export function First() {
  const { ready, state, error } = useIncidents();
  if (!ready && error === null) return <Skeleton />;
  return <Navigate to={ready && state.list.length === 0 ? "/start" : "/incidents"} replace />;
}
