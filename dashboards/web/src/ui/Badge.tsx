import type { ReactNode } from "react";

import styles from "./Badge.module.css";

export type Tone = "critical" | "warning" | "info" | "good" | "quiet";

/** Told apart by its shape as well as by its colour. */
export type Shape = "diamond" | "triangle" | "circle" | "ring" | "half" | "check" | "cross" | "pause" | "dash";

const SHAPES: Record<Shape, ReactNode> = {
  diamond: <path d="M5 0l5 5-5 5-5-5z" fill="currentColor" />,
  triangle: <path d="M5 0.500l5 9H0z" fill="currentColor" />,
  circle: <circle cx="5" cy="5" r="3.500" fill="currentColor" />,
  ring: <circle cx="5" cy="5" r="3.700" fill="none" stroke="currentColor" strokeWidth="2" />,
  half: (
    <>
      <circle cx="5" cy="5" r="4" fill="none" stroke="currentColor" strokeWidth="1.500" />
      <path d="M5 1a4 4 0 0 1 0 8z" fill="currentColor" />
    </>
  ),
  check: <path d="M1 5.500l2.800 3L9 2" fill="none" stroke="currentColor" strokeWidth="2" />,
  cross: <path d="M1.500 1.500l7 7m0-7l-7 7" fill="none" stroke="currentColor" strokeWidth="2" />,
  pause: <path d="M3 1v8M7 1v8" fill="none" stroke="currentColor" strokeWidth="2" />,
  dash: <path d="M1 5h8" fill="none" stroke="currentColor" strokeWidth="2" />,
};

interface BadgeProps {
  tone: Tone;
  shape?: Shape;
  title?: string;
  children: ReactNode;
}

export function Badge({ tone, shape, title, children }: BadgeProps) {
  return (
    <span className={`${styles.badge} ${styles[tone]}`} title={title}>
      {shape !== undefined && (
        <svg viewBox="0 0 10 10" aria-hidden="true">
          {SHAPES[shape]}
        </svg>
      )}
      {children}
    </span>
  );
}

interface Look {
  tone: Tone;
  shape: Shape;
  word: string;
}

const SEVERITIES: Record<string, Look> = {
  critical: { tone: "critical", shape: "diamond", word: "Critical" },
  warning: { tone: "warning", shape: "triangle", word: "Warning" },
  info: { tone: "info", shape: "circle", word: "Info" },
};

/** Of incidents, of steps and of remediations. */
const STATUSES: Record<string, Look> = {
  open: { tone: "critical", shape: "ring", word: "Open" },
  investigating: { tone: "warning", shape: "half", word: "Investigating" },
  resolved: { tone: "good", shape: "check", word: "Resolved" },
  merged: { tone: "quiet", shape: "dash", word: "Merged" },
  running: { tone: "info", shape: "half", word: "Running" },
  success: { tone: "good", shape: "check", word: "Done" },
  timeout: { tone: "warning", shape: "triangle", word: "Timed out" },
  cancelled: { tone: "quiet", shape: "cross", word: "Cancelled" },
  paused: { tone: "warning", shape: "pause", word: "Paused" },
  proposed: { tone: "info", shape: "ring", word: "Proposed" },
  waiting: { tone: "warning", shape: "half", word: "Waiting for approval" },
  denied: { tone: "critical", shape: "cross", word: "Denied" },
  expired: { tone: "quiet", shape: "dash", word: "Expired" },
  granted: { tone: "info", shape: "check", word: "Granted" },
  attempted: { tone: "info", shape: "half", word: "Attempted" },
  executed: { tone: "info", shape: "check", word: "Executed" },
  verified: { tone: "good", shape: "check", word: "Verified" },
  unverified: { tone: "warning", shape: "triangle", word: "Not verified" },
  rolled_back: { tone: "warning", shape: "triangle", word: "Rolled back" },
  failed: { tone: "critical", shape: "cross", word: "Failed" },
};

function unknown(word: string): Look {
  return { tone: "quiet", shape: "circle", word };
}

export function SeverityBadge({ severity }: { severity: string }) {
  const { tone, shape, word } = SEVERITIES[severity] ?? unknown(severity);
  return (
    <Badge tone={tone} shape={shape}>
      {word}
    </Badge>
  );
}

export function StatusBadge({ status }: { status: string }) {
  const { tone, shape, word } = STATUSES[status] ?? unknown(status);
  return (
    <Badge tone={tone} shape={shape}>
      {word}
    </Badge>
  );
}
