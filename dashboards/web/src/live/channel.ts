/**
 * One namespace of the live connection: its state, how it is connected, and what came of each message.
 *
 * Messages are collected and folded into the state once a frame, so a storm costs one render a frame however many
 * messages it has. The cursor of the newest message goes along when connecting again; messages that are still waiting
 * are folded first, so that the server's next message follows on the state. A channel that nobody looks at is closed
 * after a while and keeps its state and cursor, to be asked for the rest when somebody looks again.
 *
 * Besides, a channel carries what is no part of that state and not kept anywhere: what the page says of itself
 * (`keepSaying`), and what the server answers to it (`hear`).
 */
import type { Socket } from "socket.io-client";

export type Connection = "off" | "connecting" | "live" | "signed-out";

export interface Delta {
  cursor: string;
  /** Absent for samples. */
  partition?: number;
  offset?: number;
  at: string;
  type: string;
  data: unknown;
}

export type Message = { kind: "snapshot"; snapshot: unknown } | { kind: "delta"; delta: Delta };

export interface View<S> {
  connection: Connection;
  /** A snapshot has come: `state` is what the server knows, not the emptiness before it. */
  ready: boolean;
  state: S;
}

/** Folds messages, in order, into a new state. Pure. */
export type Fold<S> = (state: S, messages: readonly Message[]) => S;

export interface Wiring {
  open(namespace: string, auth: (give: (auth: object) => void) => void): Socket;
  /** Calls back once, soon: the next frame, or a moment later where no frames are drawn. */
  schedule(callback: () => void): void;
}

interface Said {
  event: string;
  argument: unknown;
}

/** How long an unwatched channel stays connected: long enough for a change of views. */
const LINGER_MS = 15_000;
/** Before connecting again by hand, where the client library does not do it of its own accord. */
const AGAIN_MS = 1_000;

export class Channel<S> {
  private view: View<S>;
  private socket: Socket | null = null;
  private waiting: Message[] = [];
  private scheduled = false;
  private cursor: string | null = null;
  private linger: ReturnType<typeof setTimeout> | undefined;
  private again: ReturnType<typeof setTimeout> | undefined;
  private readonly listeners = new Set<() => void>();
  private readonly taps = new Set<(deltas: readonly Delta[]) => void>();
  private readonly said = new Set<Said>();
  private readonly heard = new Map<string, Set<(argument: unknown) => void>>();

  constructor(
    readonly namespace: string,
    private readonly empty: S,
    private readonly fold: Fold<S>,
    private readonly wiring: Wiring,
  ) {
    this.view = { connection: "off", ready: false, state: empty };
  }

  readonly get = (): View<S> => this.view;

  readonly subscribe = (listener: () => void): (() => void) => {
    this.listeners.add(listener);
    clearTimeout(this.linger);
    this.connect();
    return () => {
      this.listeners.delete(listener);
      if (this.listeners.size === 0) this.linger = setTimeout(() => this.close(), LINGER_MS);
    };
  };

  /** Calls back with the deltas of each frame, snapshots aside. */
  tap(callback: (deltas: readonly Delta[]) => void): () => void {
    this.taps.add(callback);
    return () => this.taps.delete(callback);
  }

  /** Calls back with what the server says under another name than those of the state. */
  hear(event: string, callback: (argument: unknown) => void): () => void {
    let callbacks = this.heard.get(event);
    if (callbacks === undefined) {
      callbacks = new Set();
      this.heard.set(event, callbacks);
      if (this.socket !== null) this.listen(this.socket, event);
    }
    callbacks.add(callback);
    return () => callbacks.delete(callback);
  }

  /** Says something to the server, again after every connect, until it is taken back with the last word. */
  keepSaying(event: string, argument: unknown, last: unknown): () => void {
    const said: Said = { event, argument };
    this.said.add(said);
    this.say(said);
    return () => {
      if (this.said.delete(said)) this.say({ event, argument: last });
    };
  }

  /** Forgets everything: what one person saw is not for the next. */
  forget(): void {
    this.close();
    this.waiting = [];
    this.cursor = null;
    this.set({ connection: "off", ready: false, state: this.empty });
  }

  /** Connects if somebody looks and it is not connected. */
  connect(): void {
    if (this.listeners.size === 0 || this.socket !== null) return;
    const socket = this.wiring.open(this.namespace, (give) => {
      this.drain();
      // Of several facts about one incident the newest is enough: a storm shall not drown the page.
      give({ latest: true, ...(this.cursor === null ? {} : { cursor: this.cursor }) });
    });
    this.socket = socket;
    this.set({ ...this.view, connection: "connecting" });
    for (const event of this.heard.keys()) this.listen(socket, event);
    socket.on("connect", () => {
      this.set({ ...this.view, connection: "live" });
      for (const said of this.said) this.say(said);
    });
    socket.on("snapshot", (snapshot: { cursor: string }) => {
      this.cursorIs(snapshot.cursor);
      // Whatever waited before is part of it.
      this.waiting = [];
      this.push({ kind: "snapshot", snapshot });
    });
    socket.on("delta", (delta: Delta) => {
      this.push({ kind: "delta", delta });
    });
    socket.on("disconnect", (reason) => {
      this.set({ ...this.view, connection: "connecting" });
      if (reason === "io server disconnect") this.connectAgain(socket);
    });
    socket.on("connect_error", (error) => {
      if (error.message === "unauthorized") this.set({ ...this.view, connection: "signed-out" });
      else {
        this.set({ ...this.view, connection: "connecting" });
        // Refused by the namespace itself, not by the network: the library leaves it to us.
        if (!socket.active) this.connectAgain(socket);
      }
    });
    socket.connect();
  }

  private listen(socket: Socket, event: string): void {
    socket.on(event, (argument: unknown) => {
      for (const callback of this.heard.get(event) ?? []) callback(argument);
    });
  }

  private say({ event, argument }: Said): void {
    // Where it is not connected the library would keep it, and it would be said twice after the connect.
    if (this.socket?.connected === true) this.socket.emit(event, argument);
  }

  private connectAgain(socket: Socket): void {
    clearTimeout(this.again);
    this.again = setTimeout(() => {
      if (this.socket === socket) socket.connect();
    }, AGAIN_MS);
  }

  private close(): void {
    clearTimeout(this.again);
    this.drain();
    this.socket?.removeAllListeners();
    this.socket?.disconnect();
    this.socket = null;
    this.set({ ...this.view, connection: "off" });
  }

  private cursorIs(cursor: unknown): void {
    if (typeof cursor === "string") this.cursor = cursor;
  }

  private push(message: Message): void {
    this.waiting.push(message);
    if (this.scheduled) return;
    this.scheduled = true;
    this.wiring.schedule(() => {
      this.scheduled = false;
      this.drain();
    });
  }

  private drain(): void {
    const messages = this.waiting;
    if (messages.length === 0) return;
    this.waiting = [];
    const state = this.fold(this.view.state, messages);
    const deltas = messages.flatMap((message) => (message.kind === "delta" ? [message.delta] : []));
    const last = deltas.at(-1);
    if (last !== undefined) this.cursorIs(last.cursor);
    const ready = this.view.ready || messages.some((message) => message.kind === "snapshot");
    this.set({ ...this.view, ready, state });
    if (deltas.length > 0) for (const tap of this.taps) tap(deltas);
  }

  private set(view: View<S>): void {
    const same =
      view.connection === this.view.connection && view.ready === this.view.ready && view.state === this.view.state;
    if (same) return;
    this.view = view;
    for (const listener of this.listeners) listener();
  }
}
