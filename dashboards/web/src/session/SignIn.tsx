import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useId, useRef } from "react";
import { useLocation, useNavigate } from "react-router";

import { ApiError, messageOf } from "../api/error";
import { Logo } from "../app/Logo";
import { Button } from "../ui/Button";
import styles from "./SignIn.module.css";
import { signIn } from "./actions";

function whyNot(error: unknown): string {
  if (error instanceof ApiError && error.status === 401) return "No named token is like this one.";
  return messageOf(error);
}

/** Where a person comes from, if it is a place of this page. */
function backOf(state: unknown): string | null {
  if (typeof state !== "object" || state === null || !("back" in state)) return null;
  return typeof state.back === "string" && state.back.startsWith("/") ? state.back : null;
}

export function SignIn() {
  const client = useQueryClient();
  const navigate = useNavigate();
  const location = useLocation();
  const field = useId();
  const fault = useId();
  const input = useRef<HTMLInputElement>(null);
  const enter = useMutation({
    mutationFn: (token: string) => signIn(client, token),
    onSuccess: () => {
      if (location.pathname === "/sign-in") void navigate(backOf(location.state) ?? "/", { replace: true });
    },
    onError: () => input.current?.focus(),
  });
  return (
    <main className={styles.page}>
      <form
        className={`card ${styles.card}`}
        onSubmit={(event) => {
          event.preventDefault();
          const token = input.current?.value.trim() ?? "";
          if (token !== "" && !enter.isPending) enter.mutate(token);
        }}
      >
        <h1 className={styles.title}>
          <Logo /> Sign in to Aegis
        </h1>
        <div className={styles.field}>
          <label htmlFor={field}>API token</label>
          <input
            ref={input}
            id={field}
            type="password"
            autoComplete="off"
            spellCheck={false}
            required
            aria-invalid={enter.isError || undefined}
            aria-describedby={enter.isError ? fault : undefined}
          />
          {enter.isError && (
            <p id={fault} className={styles.fault} role="alert">
              {whyNot(enter.error)}
            </p>
          )}
        </div>
        <Button type="submit" look="primary" busy={enter.isPending}>
          {enter.isPending ? "Signing in…" : "Sign in"}
        </Button>
        <div className="stack small muted">
          <p>
            Tokens have a name and a role. They stand in the configuration of Aegis, one section each, and count from its next
            start:
          </p>
          <pre>{'[gateway.tokens.ann]\ntoken = "…"\nrole = "responder"   # viewer, responder, approver or admin'}</pre>
          <p>The token is sent once, for a session of this browser, and kept nowhere here.</p>
        </div>
      </form>
    </main>
  );
}
