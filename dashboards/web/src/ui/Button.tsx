import { type ButtonHTMLAttributes, useId } from "react";

import type { Role } from "../api/shapes";
import { useMay } from "../session/useMe";
import styles from "./Button.module.css";

export interface ButtonProps extends Omit<ButtonHTMLAttributes<HTMLButtonElement>, "disabled"> {
  look?: "plain" | "primary" | "danger" | "quiet";
  size?: "normal" | "small";
  /** It waits for an answer: pressing again does nothing. */
  busy?: boolean;
  /** Why it cannot be pressed. It stays reachable, so that the reason can be read. */
  unavailable?: string | null;
}

export function Button({
  look = "plain",
  size = "normal",
  busy = false,
  unavailable = null,
  className,
  onClick,
  title,
  children,
  type = "button",
  ...rest
}: ButtonProps) {
  const reason = useId();
  const off = busy || unavailable !== null;
  const classes = [styles.button, look !== "plain" && styles[look], size === "small" && styles.small, className];
  return (
    <>
      <button
        {...rest}
        type={type}
        className={classes.filter(Boolean).join(" ")}
        aria-disabled={off || undefined}
        aria-busy={busy || undefined}
        aria-describedby={unavailable === null ? rest["aria-describedby"] : reason}
        title={unavailable ?? title}
        onClick={(event) => {
          if (off) event.preventDefault();
          else onClick?.(event);
        }}
      >
        {children}
      </button>
      {unavailable !== null && (
        <span id={reason} hidden>
          {unavailable}
        </span>
      )}
    </>
  );
}

/** A button for what needs a role: whoever lacks it reads why. */
export function RoleButton({ role, unavailable = null, ...rest }: ButtonProps & { role: Role }) {
  const may = useMay();
  return <Button {...rest} unavailable={may(role).reason ?? unavailable} />;
}
