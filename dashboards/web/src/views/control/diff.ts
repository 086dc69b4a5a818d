/** One field that a dry run would change. `null`: it is not there on that side. */
export interface FieldChange {
  path: string;
  before: string | null;
  after: string | null;
}

/** A dry run as a table of fields, and the lines that are no field. */
export interface DryRun {
  changes: FieldChange[];
  notes: string[];
}

const FIELD = /^([-+]) ([^:\s][^:]*): ?(.*)$/;

/**
 * Reads the text of a dry run: `- path: before` and `+ path: after`, one line a field.
 * Where not one line is a field (a text for an issue, a plan of Terraform), everything is a note.
 */
export function readDryRun(text: string): DryRun {
  const changes = new Map<string, FieldChange>();
  const notes: string[] = [];
  for (const line of text.split("\n")) {
    const found = FIELD.exec(line);
    const [, sign, path, value] = found ?? [];
    if (path === undefined || value === undefined) {
      if (line.trim() !== "") notes.push(line);
      continue;
    }
    const change = changes.get(path) ?? { path, before: null, after: null };
    if (sign === "-") change.before = value;
    else change.after = value;
    changes.set(path, change);
  }
  return { changes: [...changes.values()], notes };
}

/** The fields in which two states of a target differ, with paths like `detail.images[0]`. */
export function compareStates(before: unknown, after: unknown): FieldChange[] {
  const left = leaves(before);
  const right = leaves(after);
  const paths = [...new Set([...left.keys(), ...right.keys()])];
  return paths
    .map((path) => ({ path, before: left.get(path) ?? null, after: right.get(path) ?? null }))
    .filter((change) => change.before !== change.after);
}

function leaves(value: unknown, path = "", into = new Map<string, string>()): Map<string, string> {
  if (Array.isArray(value)) {
    value.forEach((item, index) => leaves(item, `${path}[${String(index)}]`, into));
  } else if (typeof value === "object" && value !== null) {
    for (const [key, item] of Object.entries(value)) leaves(item, path === "" ? key : `${path}.${key}`, into);
  } else if (value !== null && value !== undefined && path !== "") {
    into.set(path, typeof value === "string" ? value : JSON.stringify(value));
  }
  return into;
}
