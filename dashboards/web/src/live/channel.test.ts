import type { Socket } from "socket.io-client";
import { beforeEach, describe, expect, it, vi } from "vitest";

import { Channel, type Delta, type Message } from "./channel";

/** A connection of which the test is the server. */
class FakeSocket {
  active = true;
  connected = false;
  connects = 0;
  readonly heard: unknown[] = [];
  private readonly handlers = new Map<string, (argument: unknown) => void>();
  on(event: string, handler: (argument: unknown) => void): void {
    this.handlers.set(event, handler);
  }
  connect(): void {
    this.connects += 1;
  }
  disconnect(): void {
    this.connected = false;
    this.handlers.clear();
  }
  removeAllListeners(): void {
    this.handlers.clear();
  }
  emit(event: string, argument: unknown): void {
    this.heard.push([event, argument]);
  }
  tell(event: string, argument: unknown = undefined): void {
    if (event === "connect") this.connected = true;
    if (event === "disconnect") this.connected = false;
    this.handlers.get(event)?.(argument);
  }
}

const delta = (number: number): Delta => ({ cursor: `c${number}`, partition: 0, offset: number, at: "", type: "t", data: number });

/** Keeps what was told, in order. */
const fold = (state: readonly string[], messages: readonly Message[]): readonly string[] =>
  messages.reduce<readonly string[]>(
    (told, message) => (message.kind === "snapshot" ? ["snapshot"] : [...told, String(message.delta.data)]),
    state,
  );

function setUp() {
  const sockets: FakeSocket[] = [];
  const frames: (() => void)[] = [];
  let auth: (give: (auth: object) => void) => void = () => undefined;
  const channel = new Channel<readonly string[]>("/test", [], fold, {
    open: (_, given) => {
      const socket = new FakeSocket();
      sockets.push(socket);
      auth = given;
      return socket as unknown as Socket;
    },
    schedule: (callback) => frames.push(callback),
  });
  return {
    channel,
    sockets,
    socket: (): FakeSocket => sockets.at(-1) ?? new FakeSocket(),
    frame: () => frames.splice(0).forEach((callback) => callback()),
    frames,
    authNow: () => {
      let said: object = {};
      auth((object) => (said = object));
      return said;
    },
  };
}

describe("channel", () => {
  beforeEach(() => {
    vi.useFakeTimers();
  });

  it("folds all messages of a frame at once", () => {
    const { channel, socket, frame, frames } = setUp();
    const drawn = vi.fn();
    channel.subscribe(drawn);
    socket().tell("connect");
    drawn.mockClear();
    socket().tell("snapshot", { cursor: "c0" });
    for (let number = 1; number <= 1_000; number += 1) socket().tell("delta", delta(number));
    expect(frames).toHaveLength(1);
    expect(channel.get()).toMatchObject({ ready: false, state: [] });
    frame();
    expect(drawn).toHaveBeenCalledTimes(1);
    expect(channel.get().ready).toBe(true);
    expect(channel.get().state).toHaveLength(1_001);
  });

  it("asks for what comes after the last message, folded or not", () => {
    const { channel, socket, frame, authNow } = setUp();
    channel.subscribe(() => undefined);
    expect(authNow()).toEqual({ latest: true });
    socket().tell("snapshot", { cursor: "c0" });
    expect(authNow()).toEqual({ latest: true, cursor: "c0" });
    socket().tell("delta", delta(1));
    frame();
    socket().tell("delta", delta(2));
    expect(authNow()).toEqual({ latest: true, cursor: "c2" });
    expect(channel.get().state).toEqual(["snapshot", "1", "2"]);
    frame();
    expect(channel.get().state).toEqual(["snapshot", "1", "2"]);
  });

  it("drops what waits when a snapshot comes", () => {
    const { channel, socket, frame, authNow } = setUp();
    channel.subscribe(() => undefined);
    socket().tell("delta", delta(1));
    socket().tell("snapshot", { cursor: "c9" });
    frame();
    expect(channel.get().state).toEqual(["snapshot"]);
    expect(authNow()).toEqual({ latest: true, cursor: "c9" });
  });

  it("connects again by hand when the server sent it away", () => {
    const { channel, socket } = setUp();
    channel.subscribe(() => undefined);
    socket().tell("connect");
    socket().tell("disconnect", "transport close");
    vi.runAllTimers();
    expect(socket().connects).toBe(1);
    socket().tell("disconnect", "io server disconnect");
    expect(channel.get().connection).toBe("connecting");
    vi.runAllTimers();
    expect(socket().connects).toBe(2);
  });

  it("does not insist where it is not let in", () => {
    const { channel, socket } = setUp();
    channel.subscribe(() => undefined);
    socket().active = false;
    socket().tell("connect_error", new Error("unauthorized"));
    vi.runAllTimers();
    expect(channel.get().connection).toBe("signed-out");
    expect(socket().connects).toBe(1);
  });

  it("closes when nobody looks, and goes on from there", () => {
    const { channel, sockets, socket, frame, authNow } = setUp();
    const leave = channel.subscribe(() => undefined);
    socket().tell("snapshot", { cursor: "c0" });
    frame();
    leave();
    vi.runAllTimers();
    expect(channel.get()).toMatchObject({ connection: "off", ready: true, state: ["snapshot"] });
    channel.subscribe(() => undefined);
    expect(sockets).toHaveLength(2);
    expect(authNow()).toEqual({ latest: true, cursor: "c0" });
  });

  it("forgets all", () => {
    const { channel, sockets, socket, frame, authNow } = setUp();
    channel.subscribe(() => undefined);
    socket().tell("snapshot", { cursor: "c0" });
    socket().tell("delta", delta(1));
    channel.forget();
    frame();
    expect(channel.get()).toEqual({ connection: "off", ready: false, state: [] });
    channel.connect();
    expect(sockets).toHaveLength(2);
    expect(authNow()).toEqual({ latest: true });
  });

  it("says what it is to keep saying once to each connection, and takes it back", () => {
    const { channel, socket } = setUp();
    channel.subscribe(() => undefined);
    const take = channel.keepSaying("look", 1, null);
    expect(socket().heard).toEqual([]);
    socket().tell("connect");
    expect(socket().heard).toEqual([["look", 1]]);
    socket().tell("disconnect", "transport close");
    socket().tell("connect");
    expect(socket().heard.splice(0)).toEqual([
      ["look", 1],
      ["look", 1],
    ]);
    take();
    take();
    expect(socket().heard.splice(0)).toEqual([["look", null]]);
    socket().tell("disconnect", "transport close");
    socket().tell("connect");
    expect(socket().heard).toEqual([]);
  });

  it("says it at once where it is connected, and nothing while it is cut", () => {
    const { channel, socket } = setUp();
    channel.subscribe(() => undefined);
    socket().tell("connect");
    const take = channel.keepSaying("look", 1, null);
    expect(socket().heard.splice(0)).toEqual([["look", 1]]);
    socket().tell("disconnect", "transport close");
    take();
    expect(socket().heard).toEqual([]);
  });

  it("hears other things on every connection", () => {
    const { channel, sockets, socket } = setUp();
    const heard: unknown[] = [];
    channel.subscribe(() => undefined);
    const deafen = channel.hear("looking", (argument) => heard.push(argument));
    socket().tell("looking", 1);
    channel.forget();
    channel.connect();
    expect(sockets).toHaveLength(2);
    socket().tell("looking", 2);
    deafen();
    socket().tell("looking", 3);
    expect(heard).toEqual([1, 2]);
    expect(channel.get()).toMatchObject({ ready: false, state: [] });
  });
});
