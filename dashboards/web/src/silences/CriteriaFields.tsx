import { useMemo } from "react";

import { useIncidents } from "../live/useIncidents";
import { Labelled } from "./Labelled";
import { NamesField } from "./NamesField";
import { type Draft, type Faults, SEVERITIES } from "./form";
import styles from "./silences.module.css";

/** Services and environments of the newest incidents. */
function useKnown(): { services: readonly string[]; environments: readonly string[] } {
  const { list } = useIncidents().state;
  return useMemo(() => {
    const sorted = (names: (string | null)[]) => [...new Set(names.filter((name) => name !== null))].sort();
    return {
      services: sorted(list.map(({ service }) => service)),
      environments: sorted(list.map(({ environment }) => environment)),
    };
  }, [list]);
}

interface CriteriaFieldsProps {
  draft: Draft;
  faults: Faults;
  onChange: (part: Partial<Draft>) => void;
}

/** Which incidents: what is filled in must all be met. */
export function CriteriaFields({ draft, faults, onChange }: CriteriaFieldsProps) {
  const known = useKnown();
  const { services, environments, severities, title } = draft;
  const toggle = (severity: string, on: boolean) =>
    onChange({ severities: on ? [...severities, severity] : severities.filter((other) => other !== severity) });
  return (
    <>
      <p className="muted">An incident is silenced if it meets all that is filled in here. Empty means any.</p>
      <div className={styles.pair}>
        <NamesField
          label="Services"
          names={services}
          known={known.services}
          fault={faults.services}
          onChange={(names) => onChange({ services: names })}
        />
        <NamesField
          label="Environments"
          names={environments}
          known={known.environments}
          fault={faults.environments}
          onChange={(names) => onChange({ environments: names })}
        />
      </div>
      <fieldset className={styles.group}>
        <legend>Severities</legend>
        <div className={styles.choices}>
          {SEVERITIES.map((severity) => (
            <label key={severity} className={styles.choice}>
              <input
                type="checkbox"
                checked={severities.includes(severity)}
                onChange={(event) => toggle(severity, event.target.checked)}
              />
              {severity.charAt(0).toUpperCase() + severity.slice(1)}
            </label>
          ))}
        </div>
        {faults.severities !== undefined && (
          <span role="alert" className={styles.fault}>
            {faults.severities}
          </span>
        )}
      </fieldset>
      <Labelled label="Title contains" fault={faults.title}>
        {(labels) => (
          <input
            {...labels}
            autoComplete="off"
            value={title}
            onChange={(event) => onChange({ title: event.target.value })}
          />
        )}
      </Labelled>
    </>
  );
}
