/** The page's one connection, shared by all namespaces. */
import { Manager } from "socket.io-client";

import type { Wiring } from "./channel";

let manager: Manager | null = null;

function shared(): Manager {
  manager ??= new Manager(window.location.origin, {
    autoConnect: false,
    transports: ["websocket", "polling"],
    tryAllTransports: true,
    reconnectionDelay: 500,
    reconnectionDelayMax: 5_000,
  });
  return manager;
}

/** Where the page is hidden no frames are drawn; a second is soon enough there. */
const HIDDEN_MS = 1_000;

export const wiring: Wiring = {
  open: (namespace, auth) => shared().socket(namespace, { auth }),
  schedule: (callback) => {
    if (document.hidden) {
      setTimeout(callback, HIDDEN_MS);
      return;
    }
    let called = false;
    const once = () => {
      if (called) return;
      called = true;
      callback();
    };
    requestAnimationFrame(once);
    // The page may be hidden before the frame comes.
    setTimeout(once, HIDDEN_MS);
  },
};
