import { describe, expect, it } from "vitest";
import { showBytes } from "./bytes";

const base64 = (bytes: number[]) => btoa(String.fromCharCode(...bytes));

describe("showBytes", () => {
  it("lays JSON out", () => {
    expect(showBytes(btoa('{"a":1}'))).toEqual({ kind: "json", text: '{\n  "a": 1\n}', size: 7 });
  });

  it("shows other text as it is, in UTF-8", () => {
    expect(showBytes(base64([0xc3, 0xa9, 0x0a]))).toEqual({ kind: "text", text: "é\n", size: 3 });
  });

  it("dumps what is no text", () => {
    const shown = showBytes(base64([0xff, 0x41, 0x00]));
    expect(shown.kind).toBe("bytes");
    expect(shown.text).toMatch(/^00000000 {2}ff 41 00 +\.A\.$/);
    expect(showBytes(base64([0x41, 0x00])).kind).toBe("bytes");
  });

  it("cuts long dumps and says so", () => {
    expect(showBytes(base64(Array.from({ length: 5000 }, () => 0xff))).text).toContain("… 904 more bytes");
  });

  it("takes what is no base64 for nothing", () => {
    expect(showBytes("***").size).toBe(0);
  });
});
