import { type RefObject, useState } from "react";

import { type Filter, SEVERITY_CHOICES, SINCE_CHOICES, STATUS_CHOICES, type StatusChoice } from "./filter";
import styles from "./incidents.module.css";

const WORDS: Record<StatusChoice, string> = {
  active: "Active",
  open: "Open",
  investigating: "Investigating",
  resolved: "Resolved",
  all: "All",
};

const SPANS: Record<string, string> = {
  "1h": "Last hour",
  "24h": "Last 24 hours",
  "7d": "Last 7 days",
  "30d": "Last 30 days",
};

interface SearchProps {
  text: string;
  onChange: (text: string) => void;
  field: RefObject<HTMLInputElement | null>;
}

/** The address follows what is typed a moment later, so the field itself says what stands in it while somebody types. */
function Search({ text, onChange, field }: SearchProps) {
  const [typed, setTyped] = useState<string | null>(null);
  return (
    <input
      ref={field}
      className={styles.search}
      type="search"
      aria-label="Search in title, service, environment and cause"
      placeholder="Search  /"
      value={typed ?? text}
      onChange={(event) => {
        setTyped(event.target.value);
        onChange(event.target.value);
      }}
      onBlur={() => setTyped(null)}
      onKeyDown={(event) => {
        if (event.key === "Escape") event.currentTarget.blur();
      }}
    />
  );
}

interface FiltersProps {
  filter: Filter;
  onChange: (change: Partial<Filter>) => void;
  counts: Record<StatusChoice, number>;
  services: readonly string[];
  search: RefObject<HTMLInputElement | null>;
}

export function Filters({ filter, onChange, counts, services, search }: FiltersProps) {
  return (
    <div className={styles.filters} role="search" aria-label="Filter incidents">
      <div className={styles.segments} role="group" aria-label="Status">
        {STATUS_CHOICES.map((choice) => (
          <button
            key={choice}
            type="button"
            className={styles.segment}
            aria-pressed={filter.status === choice}
            onClick={() => onChange({ status: choice })}
          >
            {WORDS[choice]}
            <span className={styles.number}>{counts[choice].toLocaleString("en")}</span>
          </button>
        ))}
      </div>
      <Search field={search} text={filter.text} onChange={(text) => onChange({ text })} />
      <select
        aria-label="Severity"
        value={filter.severity}
        onChange={(event) => onChange({ severity: event.target.value })}
      >
        <option value="">Any severity</option>
        {SEVERITY_CHOICES.map((severity) => (
          <option key={severity} value={severity}>
            {severity.charAt(0).toUpperCase() + severity.slice(1)}
          </option>
        ))}
      </select>
      <select
        aria-label="Service"
        value={filter.service}
        onChange={(event) => onChange({ service: event.target.value })}
      >
        <option value="">Any service</option>
        {services.map((service) => (
          <option key={service} value={service}>
            {service}
          </option>
        ))}
      </select>
      <select aria-label="Opened" value={filter.since} onChange={(event) => onChange({ since: event.target.value })}>
        <option value="">Any time</option>
        {Object.keys(SINCE_CHOICES).map((since) => (
          <option key={since} value={since}>
            {SPANS[since]}
          </option>
        ))}
      </select>
    </div>
  );
}
