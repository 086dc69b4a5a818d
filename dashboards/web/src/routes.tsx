import { lazy } from "react";
import { Navigate, Route, Routes } from "react-router";

import { Layout } from "./app/Layout";
import { First } from "./app/First";
import { NotFound } from "./app/NotFound";
import { Gate } from "./session/Gate";
import { SignIn } from "./session/SignIn";

const Incidents = lazy(() => import("./views/incidents"));
const Incident = lazy(() => import("./views/incident"));
const Agents = lazy(() => import("./views/agents"));
const Control = lazy(() => import("./views/control"));
const Pipeline = lazy(() => import("./views/pipeline"));
const Analytics = lazy(() => import("./views/analytics"));
const Start = lazy(() => import("./views/start"));

export function AppRoutes() {
  return (
    <Routes>
      <Route path="/sign-in" element={<SignIn />} />
      <Route element={<Gate />}>
        <Route element={<Layout />}>
          <Route index element={<First />} />
          <Route path="/incidents" element={<Incidents />} />
          <Route path="/incidents/:id" element={<Incident />} />
          <Route path="/agents" element={<Agents />} />
          <Route path="/agents/:run" element={<Agents />} />
          <Route path="/control" element={<Control />} />
          <Route path="/pipeline" element={<Pipeline />} />
          <Route path="/analytics" element={<Analytics />} />
          <Route path="/start" element={<Start />} />
          <Route path="/index.html" element={<Navigate to="/" replace />} />
          <Route path="*" element={<NotFound />} />
        </Route>
      </Route>
    </Routes>
  );
}
