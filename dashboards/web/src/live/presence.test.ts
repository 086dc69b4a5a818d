import { beforeEach, describe, expect, it, vi } from "vitest";

import type { Connection } from "./channel";
import { type Line, Presence, SILENT_MS, others } from "./presence";

/** A channel of which the test is the server. */
class FakeLine implements Line {
  readonly said: unknown[] = [];
  private connection: Connection = "live";
  private readonly listeners = new Set<() => void>();
  private readonly ears = new Set<(argument: unknown) => void>();
  get(): { connection: Connection } {
    return { connection: this.connection };
  }
  subscribe(listener: () => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }
  hear(_: string, callback: (argument: unknown) => void): () => void {
    this.ears.add(callback);
    return () => this.ears.delete(callback);
  }
  keepSaying(event: string, argument: unknown, last: unknown): () => void {
    this.said.push([event, argument]);
    return () => this.said.push([event, last]);
  }
  becomes(connection: Connection): void {
    this.connection = connection;
    for (const listener of this.listeners) listener();
  }
  tell(argument: unknown): void {
    for (const ear of this.ears) ear(argument);
  }
  get used(): boolean {
    return this.listeners.size + this.ears.size > 0;
  }
}

function setUp() {
  const line = new FakeLine();
  const presence = new Presence(line, "i");
  const drawn = vi.fn();
  const leave = presence.subscribe(drawn);
  const looking = (...names: string[]) => line.tell({ incident: "i", names });
  return { line, presence, drawn, leave, looking };
}

describe("presence", () => {
  beforeEach(() => {
    vi.useFakeTimers();
  });

  it("says where it looks, and when it looks no more", () => {
    const { line, presence, leave } = setUp();
    const second = presence.subscribe(() => undefined);
    leave();
    expect(line.said).toEqual([["look", { incident: "i" }]]);
    second();
    expect(line.said).toEqual([
      ["look", { incident: "i" }],
      ["look", { incident: null }],
    ]);
    expect(line.used).toBe(false);
    presence.subscribe(() => undefined);
    expect(line.said).toHaveLength(3);
  });

  it("has whom it was told of last, and is drawn when they change", () => {
    const { presence, drawn, looking } = setUp();
    looking("ann", "bob");
    looking("ann", "bob");
    expect(presence.get()).toEqual(["ann", "bob"]);
    expect(drawn).toHaveBeenCalledTimes(1);
    looking("ann");
    expect(presence.get()).toEqual(["ann"]);
    expect(drawn).toHaveBeenCalledTimes(2);
  });

  it.each([[{ incident: "other", names: ["eve"] }], [{ incident: "i" }], [{ incident: "i", names: "eve" }], [null]])(
    "does not take %j for it",
    (told) => {
      const { line, presence, looking } = setUp();
      looking("bob");
      line.tell(told);
      expect(presence.get()).toEqual(["bob"]);
    },
  );

  it("forgets them when nothing is told for a while", () => {
    const { presence, looking } = setUp();
    looking("bob");
    vi.advanceTimersByTime(SILENT_MS - 1);
    looking("bob");
    vi.advanceTimersByTime(SILENT_MS - 1);
    expect(presence.get()).toEqual(["bob"]);
    vi.advanceTimersByTime(1);
    expect(presence.get()).toEqual([]);
  });

  it("forgets them when the connection is cut, and hears of them again after it", () => {
    const { line, presence, looking } = setUp();
    looking("bob");
    line.becomes("connecting");
    expect(presence.get()).toEqual([]);
    line.becomes("live");
    expect(presence.get()).toEqual([]);
    looking("bob");
    expect(presence.get()).toEqual(["bob"]);
  });

  it("forgets them when it leaves, and no timer is left", () => {
    const { presence, drawn, leave, looking } = setUp();
    looking("bob");
    leave();
    expect(presence.get()).toEqual([]);
    expect(vi.getTimerCount()).toBe(0);
    expect(drawn).toHaveBeenCalledTimes(1);
  });
});

it("names everybody else once", () => {
  expect(others(["ann", "bob", "ann", "bob"], "ann")).toEqual(["bob"]);
  expect(others(["ann"], "ann")).toEqual([]);
  expect(others(["ann"], null)).toEqual(["ann"]);
});
