/** A real aegis with its own data folder and ports: started, stopped, started again, and sent alerts. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createWriteStream } from "node:fs";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";

export type Role = "viewer" | "responder" | "approver" | "admin";

/** Name and token of one person of each role. */
export const PEOPLE: Record<Role, { name: string; token: string }> = {
  viewer: { name: "vera", token: "token-of-vera-who-reads-0001" },
  responder: { name: "rob", token: "token-of-rob-who-responds-0002" },
  approver: { name: "ann", token: "token-of-ann-who-approves-0003" },
  admin: { name: "ada", token: "token-of-ada-the-admin-0004" },
};

const FIRST_PORT = 20_000;
const LAST_PORT = 32_000;
const taken = new Set<number>();

async function free(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(false));
    server.listen(port, "127.0.0.1", () => server.close(() => resolve(true)));
  });
}

/** A port that nobody listens on, handed out once. */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = FIRST_PORT + Math.floor(Math.random() * (LAST_PORT - FIRST_PORT));
    if (taken.has(port) || !(await free(port))) continue;
    taken.add(port);
    return port;
  }
}

export interface Alert {
  name: string;
  service?: string;
  severity?: string;
  /** More labels. */
  labels?: Record<string, string>;
  annotations?: Record<string, string>;
  startsAt?: Date;
  endsAt?: Date;
}

interface Options {
  /** Of its folder, for whoever looks for its log. */
  name?: string;
  /** More of the configuration, from a table's head on. */
  settings?: string;
  /** Without named tokens everybody reads. */
  open?: boolean;
}

export class Aegis {
  private process: ChildProcess | null = null;

  private constructor(
    private readonly folder: string,
    readonly dashboard: string,
    readonly dispatcher: string,
  ) {}

  static async start({ name = "", settings = "", open = false }: Options = {}): Promise<Aegis> {
    const folder = await mkdtemp(join(tmpdir(), `aegis-e2e-${name}-`));
    const [dashboard, dispatcher, gateway, sql, mcp] = await Promise.all(Array.from({ length: 5 }, freePort));
    const tokens = Object.entries(PEOPLE).map(
      ([role, { name, token }]) => `[gateway.tokens.${name}]\ntoken = "${token}"\nrole = "${role}"\n`,
    );
    const config = [
      `[data]\ndir = "${join(folder, "data")}"`,
      `[dispatcher]\nlisten = "127.0.0.1:${dispatcher}"`,
      `[gateway]\nlisten = "127.0.0.1:${gateway}"`,
      ...(open ? [] : tokens),
      `[dashboard]\nlisten = "127.0.0.1:${dashboard}"`,
      `[sql]\nlisten = "127.0.0.1:${sql}"`,
      `[mcp]\nlisten = "127.0.0.1:${mcp}"`,
      settings,
    ];
    await writeFile(join(folder, "aegis.toml"), config.join("\n"));
    const aegis = new Aegis(folder, `http://127.0.0.1:${dashboard}`, `http://127.0.0.1:${dispatcher}`);
    await aegis.run();
    return aegis;
  }

  /** Starts the program, and returns when its page answers. */
  async run(): Promise<void> {
    const program = process.env.AEGIS_BIN;
    if (program === undefined) throw new Error("AEGIS_BIN names no program");
    const log = createWriteStream(join(this.folder, "aegis.log"), { flags: "a" });
    await once(log, "open");
    // Variables that begin like this are settings; the tests' own are none.
    const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith("AEGIS_")));
    const child = spawn(program, ["--config", join(this.folder, "aegis.toml"), "run"], { env, stdio: ["ignore", log, log] });
    this.process = child;
    for (;;) {
      if (child.exitCode !== null) throw new Error(`aegis ended:\n${await this.log()}`);
      const answer = await fetch(`${this.dashboard}/api/v1/me`).catch(() => null);
      if (answer !== null && answer.status < 500) return;
      await pause(50);
    }
  }

  async log(): Promise<string> {
    return readFile(join(this.folder, "aegis.log"), "utf8");
  }

  async stop(signal: NodeJS.Signals = "SIGTERM"): Promise<void> {
    const child = this.process;
    this.process = null;
    if (child === null || child.exitCode !== null) return;
    child.kill(signal);
    await once(child, "exit");
  }

  /** Stops it for good and removes its data. */
  async end(): Promise<void> {
    await this.stop("SIGKILL");
    await rm(this.folder, { recursive: true, force: true, maxRetries: 5 });
  }

  /** Sends alerts as Alertmanager does, in bodies of at most a thousand. */
  async send(alerts: readonly Alert[]): Promise<void> {
    for (let from = 0; from < alerts.length; from += 1_000) {
      await this.post("/webhooks/alertmanager", webhook(alerts.slice(from, from + 1_000)));
    }
  }

  async post(path: string, body: unknown, headers: Record<string, string> = {}): Promise<void> {
    for (;;) {
      const answer = await fetch(`${this.dispatcher}${path}`, {
        method: "POST",
        headers: { "content-type": "application/json", ...headers },
        body: typeof body === "string" ? body : JSON.stringify(body),
      });
      if (answer.ok) return;
      // It is busy, and says so.
      if (answer.status !== 503 && answer.status !== 429) throw new Error(`${path}: ${answer.status} ${await answer.text()}`);
      await pause(100);
    }
  }

  /** Asks the REST API with the token of somebody. */
  async api<T>(path: string, role: Role = "admin", method = "GET", body?: unknown): Promise<T> {
    const answer = await fetch(`${this.dashboard}/api/v1${path}`, {
      method,
      headers: { authorization: `Bearer ${PEOPLE[role].token}`, "content-type": "application/json" },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${await answer.text()}`);
    return (answer.status === 204 ? undefined : await answer.json()) as T;
  }

  async incidents(): Promise<{ id: string; title: string; revision: number; members: number }[]> {
    const page = await this.api<{ incidents: { id: string; title: string; revision: number; members: number }[] }>(
      "/incidents?limit=200",
    );
    return page.incidents;
  }
}

function webhook(alerts: readonly Alert[]): unknown {
  const told = alerts.map(({ name, service, severity = "critical", labels, annotations, startsAt, endsAt }) => ({
    status: endsAt === undefined ? "firing" : "resolved",
    labels: { alertname: name, severity, ...(service === undefined ? {} : { service }), ...labels },
    annotations: annotations ?? {},
    startsAt: (startsAt ?? new Date()).toISOString(),
    endsAt: endsAt?.toISOString() ?? "0001-01-01T00:00:00Z",
    generatorURL: "http://prometheus.example/graph",
  }));
  return {
    version: "4",
    groupKey: "{}:{}",
    truncatedAlerts: 0,
    status: "firing",
    receiver: "aegis",
    groupLabels: {},
    commonLabels: {},
    commonAnnotations: {},
    externalURL: "http://alertmanager.example",
    alerts: told,
  };
}
