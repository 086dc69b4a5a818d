// A client of Socket.IO as people write them, with the library that they use. Tells on stdout, a line of JSON each, what it hears.
//
//   node client.mjs MODULES URL NAMESPACE [TOKEN]
//
// It keeps the cursor of the last message and gives it when it connects again, and says again what it looks at. Words on stdin: `cut` closes the
// connection under it, `stall` reads nothing from it any more, `cuts N` cuts it about every N milliseconds, `calm` no more; `look UUID` looks at an
// incident, `leave` at none.
import { createRequire } from "node:module";
import { createInterface } from "node:readline";

const [modules, url, namespace, token] = process.argv.slice(2);
const { io } = createRequire(`${modules}/`)("socket.io-client");

const say = (what) => process.stdout.write(`${JSON.stringify(what)}\n`);

let cursor;
const socket = io(url + namespace, {
  auth: (answer) => answer({ token, cursor }),
  reconnectionDelay: 20,
  reconnectionDelayMax: 200,
  randomizationFactor: 0.5,
});
let incident = null;
const look = (at) => {
  incident = at;
  if (socket.connected) socket.emit("look", { incident });
};
socket.on("connect", () => {
  say({ connected: socket.id });
  if (incident) look(incident);
});
socket.on("looking", (looking) => say({ looking }));
socket.on("connect_error", (error) => {
  say({ refused: error.message });
  // Refused by the namespace and not by the network: the library leaves it at that.
  if (!socket.active) setTimeout(() => socket.connect(), 200);
});
socket.on("disconnect", (reason) => {
  say({ disconnected: reason });
  if (reason === "io server disconnect") setTimeout(() => socket.connect(), 50);
});
socket.on("snapshot", (state) => {
  cursor = state.cursor;
  say({ snapshot: state });
});
socket.on("delta", (delta) => {
  cursor = delta.cursor;
  say({ delta });
});

// Only what is connected is cut: a connection that is closed while it opens is one that the library gives up.
const cut = () => {
  if (socket.connected) socket.io.engine.close();
};

let cuts;
createInterface({ input: process.stdin }).on("line", (line) => {
  const [word, number] = line.split(" ");
  if (word === "look") look(number);
  if (word === "leave") look(null);
  if (word === "cut") cut();
  if (word === "stall") socket.io.engine?.transport?.ws?._socket?.pause();
  if (word === "cuts") cuts = setInterval(cut, Number(number) * (0.5 + Math.random()));
  if (word === "calm") clearInterval(cuts);
}).on("close", () => process.exit(0));
