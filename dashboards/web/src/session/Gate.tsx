import { useQuery } from "@tanstack/react-query";
import { Outlet } from "react-router";

import { ErrorState, Skeleton } from "../ui/states";
import { SignIn } from "./SignIn";
import { meQuery } from "./useMe";

/** Lets in whoever may read; everybody else signs in first. */
export function Gate() {
  const me = useQuery(meQuery);
  if (me.data !== undefined) return me.data === null ? <SignIn /> : <Outlet />;
  if (me.isError) {
    return (
      <main>
        <ErrorState title="Aegis cannot be reached" error={me.error} onRetry={() => void me.refetch()} />
      </main>
    );
  }
  return (
    <main>
      <Skeleton label="Connecting to Aegis" />
    </main>
  );
}
