import { NavLink, useNavigate } from "react-router";

import { remediationsLive } from "../live/channels";
import { useIncidents } from "../live/useIncidents";
import { useLive } from "../live/useLive";
import { useShortcut } from "../ui/shortcuts";
import styles from "./Layout.module.css";
import { PLACES, type Place } from "./places";

function useCounts(): Record<string, { count: number; label: string }> {
  const incidents = useIncidents().state.list;
  const remediations = useLive(remediationsLive).state;
  const active = incidents.filter(({ status, merged_into }) => status !== "resolved" && merged_into === null).length;
  const waiting = remediations.list.filter(
    ({ id, status }) => status === "waiting" && !remediations.facts.has(id),
  ).length;
  return {
    "/incidents": { count: active, label: "not resolved" },
    "/control": { count: waiting, label: "waiting for approval" },
  };
}

function Item({ place, count, label }: { place: Place; count: number; label: string }) {
  const navigate = useNavigate();
  useShortcut(place.keys, `Go to ${place.name}`, () => void navigate(place.path));
  return (
    <NavLink className={styles.link} to={place.path}>
      {place.name}
      {count > 0 && (
        <span className={styles.count}>
          {count}
          <span className="hidden"> {label}</span>
        </span>
      )}
    </NavLink>
  );
}

export function Nav() {
  const counts = useCounts();
  return (
    <nav className={styles.nav} aria-label="Views">
      {PLACES.map((place) => (
        <Item key={place.path} place={place} count={counts[place.path]?.count ?? 0} label={counts[place.path]?.label ?? ""} />
      ))}
    </nav>
  );
}
