import { useMutation, useQueryClient } from "@tanstack/react-query";
import { Link, useLocation } from "react-router";

import { messageOf } from "../api/error";
import { signOut } from "../session/actions";
import { useMe } from "../session/useMe";
import { Button } from "../ui/Button";
import { toast } from "../ui/toasts";
import styles from "./Layout.module.css";

/** Who is signed in, and the way in or out. */
export function Account() {
  const me = useMe();
  const client = useQueryClient();
  const { pathname, search } = useLocation();
  const leave = useMutation({
    mutationFn: () => signOut(client),
    onError: (error) => toast(`Signing out failed: ${messageOf(error)}`, "critical"),
  });
  if (me === null) return null;
  if (me.name === null) {
    return (
      <div className={styles.who}>
        <span className="muted">Reading only</span>
        {me.sign_in && (
          <Link to="/sign-in" state={{ back: pathname + search }}>
            Sign in
          </Link>
        )}
      </div>
    );
  }
  return (
    <div className={styles.who}>
      <span>
        <strong>{me.name}</strong> <span className="muted">{me.role}</span>
      </span>
      {me.session && (
        <Button size="small" busy={leave.isPending} onClick={() => leave.mutate()}>
          Sign out
        </Button>
      )}
    </div>
  );
}
