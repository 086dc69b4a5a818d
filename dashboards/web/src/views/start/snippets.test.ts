import { describe, expect, it } from "vitest";
import { dispatcherFor, readAddress, snippets } from "./snippets";

it.each<[string | null, string]>([
  [null, "http://aegis.example:3001"],
  ["127.0.0.1:4001", "http://aegis.example:4001"],
  ["0.0.0.0:4001", "http://aegis.example:4001"],
  ["[::]:4001", "http://aegis.example:4001"],
  ["10.1.2.3:4001", "http://10.1.2.3:4001"],
  ["[fd00::1]:4001", "http://[fd00::1]:4001"],
])("the dispatcher that listens on %s is at %s", (listens, address) => {
  expect(dispatcherFor(listens, "aegis.example")).toBe(address);
});

describe("readAddress", () => {
  it.each([
    ["127.0.0.1:3001", "http://127.0.0.1:3001", "127.0.0.1:3001"],
    ["https://aegis.example", "https://aegis.example", "aegis.example"],
    [" http://[::1]:3001/ ", "http://[::1]:3001", "[::1]:3001"],
  ])("takes %s", (typed, base, hostPort) => {
    expect(readAddress(typed)).toEqual({ base, hostPort });
  });

  it.each(["", "ftp://x", "javascript:alert(1)", "http://a/path", "http://a?b", "a b"])("refuses %j", (typed) => {
    expect(readAddress(typed)).toBeNull();
  });
});

describe("snippets", () => {
  const all = snippets({ base: "http://127.0.0.1:3001", hostPort: "127.0.0.1:3001" }, new Date("2026-12-01T00:00:00Z"));

  it("names every sender once, and the address in each", () => {
    expect(new Set(all.map(({ id }) => id)).size).toBe(all.length);
    for (const { text } of all) expect(text).toContain("127.0.0.1:3001");
  });

  it("has bodies that are JSON", () => {
    const bodies = all.flatMap(({ text }) => /-d '(.*)'$/s.exec(text)?.[1] ?? []);
    expect(bodies).toHaveLength(3);
    for (const body of bodies) expect(() => JSON.parse(body) as unknown).not.toThrow();
  });
});
