/** What the bytes of a dead letter are, as far as they can be shown. */
export type Shown =
  { kind: "json" | "text"; text: string; size: number } | { kind: "bytes"; text: string; size: number };

/** Most bytes that are shown as a dump; a whole letter may be megabytes. */
const DUMP_LIMIT = 4096;

/** Control characters that no text has; tab, line feed and carriage return are fine. */
const CONTROL = /[\u0000-\u0008\u000b\u000c\u000e-\u001f]/;

export function showBytes(base64: string): Shown {
  const bytes = decode(base64);
  const text = asText(bytes);
  if (text === null) return { kind: "bytes", text: dump(bytes), size: bytes.length };
  try {
    return { kind: "json", text: JSON.stringify(JSON.parse(text), null, 2), size: bytes.length };
  } catch {
    return { kind: "text", text, size: bytes.length };
  }
}

function decode(base64: string): Uint8Array {
  try {
    return Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
  } catch {
    return new Uint8Array();
  }
}

function asText(bytes: Uint8Array): string | null {
  try {
    const text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    return CONTROL.test(text) ? null : text;
  } catch {
    return null;
  }
}

/** Offset, sixteen bytes in hex, and what of them is printable. */
function dump(bytes: Uint8Array): string {
  const lines: string[] = [];
  for (let at = 0; at < Math.min(bytes.length, DUMP_LIMIT); at += 16) {
    const row = [...bytes.subarray(at, at + 16)];
    const hex = row.map((byte) => byte.toString(16).padStart(2, "0")).join(" ");
    const printable = row.map((byte) => (byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : ".")).join("");
    lines.push(`${at.toString(16).padStart(8, "0")}  ${hex.padEnd(47)}  ${printable}`);
  }
  if (bytes.length > DUMP_LIMIT) lines.push(`… ${String(bytes.length - DUMP_LIMIT)} more bytes`);
  return lines.join("\n");
}
