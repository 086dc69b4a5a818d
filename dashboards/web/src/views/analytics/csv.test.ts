import { describe, expect, it } from "vitest";
import { toCsv } from "./csv";

const csv = (...row: unknown[]) => toCsv({ columns: row.map((_, i) => ({ name: `c${i}`, type: "" })), rows: [row] });

describe("toCsv", () => {
  it("writes names and rows", () => {
    expect(csv("checkout", 3, null)).toBe("c0,c1,c2\r\ncheckout,3,\r\n");
  });

  it("quotes commas, quotes and line ends", () => {
    expect(csv('a,"b"', "x\ny")).toBe('c0,c1\r\n"a,""b""","x\ny"\r\n');
  });

  it("lets no sender write formulas", () => {
    expect(csv("=HYPERLINK(1)", "@x", "-1+cmd|x", "+1")).toBe("c0,c1,c2,c3\r\n'=HYPERLINK(1),'@x,'-1+cmd|x,+1\r\n");
  });

  it("leaves negative numbers numbers", () => {
    expect(csv(-1, "-2.5")).toBe("c0,c1\r\n-1,-2.5\r\n");
  });

  it("writes objects as JSON", () => {
    expect(csv({ a: 1 }, true)).toBe('c0,c1\r\n"{""a"":1}",true\r\n');
  });
});
