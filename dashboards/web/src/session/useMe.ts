import { queryOptions, useQuery } from "@tanstack/react-query";

import { api, body, setCsrf } from "../api/client";
import { ApiError } from "../api/error";
import type { Me, Role } from "../api/shapes";

/** `null`: nobody is signed in, and a token is needed. */
export const meQuery = queryOptions({
  queryKey: ["me"],
  queryFn: async (): Promise<Me | null> => {
    try {
      const me = await body(api.GET("/me"));
      const session = me.session ? await body(api.GET("/sessions/current")) : null;
      setCsrf(session?.csrf ?? null);
      return me;
    } catch (error) {
      if (error instanceof ApiError && error.status === 401) return null;
      throw error;
    }
  },
  staleTime: 60_000,
  refetchOnWindowFocus: "always",
});

export function useMe(): Me | null {
  return useQuery(meQuery).data ?? null;
}

const RANKS: Record<Role, number> = { viewer: 0, responder: 1, approver: 2, admin: 3 };

export type Permission = { allowed: true; reason: null } | { allowed: false; reason: string };

export function permission(me: Me | null, role: Role): Permission {
  if (me !== null && RANKS[me.role] >= RANKS[role] && (role === "viewer" || me.name !== null)) {
    return { allowed: true, reason: null };
  }
  const article = role === "approver" || role === "admin" ? "an" : "a";
  const reason =
    me === null || me.name === null
      ? `Sign in as ${article} ${role} to do this.`
      : `This needs ${article} ${role}; you are signed in as ${me.role}.`;
  return { allowed: false, reason };
}

/** Tells whether the person may do what needs a role, and if not, why. */
export function useMay(): (role: Role) => Permission {
  const me = useMe();
  return (role) => permission(me, role);
}
