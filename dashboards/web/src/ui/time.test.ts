import { describe, expect, it } from "vitest";

import { absolute, clock, duration, relative } from "./time";

describe("duration", () => {
  it.each([
    [0, "0 ms"],
    [999, "999 ms"],
    [1_000, "1 s"],
    [2_345, "2.3 s"],
    [61_000, "1 min 1 s"],
    [3_600_000, "1 h"],
    [7_500_000, "2 h 5 min"],
    [90_000_000, "1 d 1 h"],
  ])("%i", (ms, expected) => {
    expect(duration(ms)).toBe(expected);
  });
});

describe("relative", () => {
  it.each([
    [0, "now"],
    [-5_000, "5 s ago"],
    [-3_599_000, "59 min ago"],
    [172_800_000, "in 2 d"],
  ])("%i", (from, expected) => {
    expect(relative(1e12 + from, 1e12)).toBe(expected);
  });
});

it("shows what is no instant as it is", () => {
  expect([absolute("soon"), clock("soon")]).toEqual(["soon", "soon"]);
});
