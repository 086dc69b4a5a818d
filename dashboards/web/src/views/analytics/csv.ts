import type { SqlAnswer } from "../../api/shapes";

/** Comma-separated values as in RFC 4180, with a line of names. */
export function toCsv(answer: Pick<SqlAnswer, "columns" | "rows">): string {
  const lines = [answer.columns.map(({ name }) => name), ...answer.rows];
  return lines.map((line) => line.map(cell).join(",")).join("\r\n") + "\r\n";
}

/** What a cell says, as text. */
export function cellText(value: unknown): string {
  if (value === null || value === undefined) return "";
  if (typeof value === "object") return JSON.stringify(value);
  return String(value as string | number | boolean | bigint);
}

/**
 * Titles and labels come from senders. A text that a spreadsheet would take for a formula gets an apostrophe in front,
 * as OWASP advises; numbers are left alone.
 */
function cell(value: unknown): string {
  const text = cellText(value);
  const plain = typeof value === "string" && /^[=+\-@\t\r]/.test(text) && !isNumber(text) ? `'${text}` : text;
  return /[",\r\n]/.test(plain) ? `"${plain.replaceAll('"', '""')}"` : plain;
}

const isNumber = (text: string) => text.trim() !== "" && Number.isFinite(Number(text));
