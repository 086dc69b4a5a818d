import { useEffect, useEffectEvent, useSyncExternalStore } from "react";

import type { Channel, Delta, View } from "./channel";

/** The state of a namespace, which stays connected while something uses it. */
export function useLive<S>(channel: Channel<S>): View<S> {
  return useSyncExternalStore(channel.subscribe, channel.get);
}

/** Calls back with the deltas of each frame: to read again what they made out of date. */
export function useDeltas<S>(channel: Channel<S>, callback: (deltas: readonly Delta[]) => void): void {
  const heard = useEffectEvent(callback);
  useEffect(() => channel.tap((deltas) => heard(deltas)), [channel]);
}
