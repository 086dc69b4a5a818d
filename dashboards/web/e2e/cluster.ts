/**
 * A stand-in for a Kubernetes API server that has one deployment: as much of the API as looking at it, trying a change
 * dry and making it need. Pods are ready at once.
 */
import { once } from "node:events";
import { type IncomingMessage, type ServerResponse, createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";

type Json = Record<string, unknown>;

const NAMESPACE = "production";
const NAME = "api-server";
const OBJECT = `/apis/apps/v1/namespaces/${NAMESPACE}/deployments/${NAME}`;
const PODS = `/api/v1/namespaces/${NAMESPACE}/pods`;
const SETS = `/apis/apps/v1/namespaces/${NAMESPACE}/replicasets`;
const UID = "2588f913-ee3b-41d9-a6b8-a170ddfd9589";
const SET = { name: `${NAME}-eb2e13428f`, uid: "e471ed3f-6d48-4110-b08d-013a27c43f38" };
const LABELS = { app: NAME };
const CONTAINERS = [{ name: NAME, image: "registry.example/api-server:v1.42" }];

export class Cluster {
  /** Changes that were made, dry runs aside. */
  changes = 0;
  private object: Json;
  /** When each of the pods began. */
  private began: string[] = [];
  private readonly server = createServer((request, response) => void this.answer(request, response));

  private constructor() {
    const created = new Date().toISOString();
    this.object = {
      apiVersion: "apps/v1",
      kind: "Deployment",
      metadata: {
        name: NAME,
        namespace: NAMESPACE,
        uid: UID,
        generation: 1,
        resourceVersion: "1",
        creationTimestamp: created,
        labels: LABELS,
        annotations: { "deployment.kubernetes.io/revision": "1" },
      },
      spec: {
        replicas: 2,
        selector: { matchLabels: LABELS },
        template: { metadata: { labels: LABELS }, spec: { containers: CONTAINERS } },
      },
    };
    this.fill();
  }

  static async start(): Promise<Cluster> {
    const cluster = new Cluster();
    cluster.server.listen(0, "127.0.0.1");
    await once(cluster.server, "listening");
    return cluster;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}`;
  }

  get replicas(): number {
    return Number((this.object["spec"] as Json)["replicas"]);
  }

  async end(): Promise<void> {
    this.server.closeAllConnections();
    this.server.close();
    await once(this.server, "close");
  }

  private async answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? "/", this.url);
    const send = (status: number, body: unknown) => {
      response.writeHead(status, { "content-type": "application/json" });
      response.end(JSON.stringify(body));
    };
    if (url.pathname === OBJECT && request.method === "PATCH") {
      const changed = merged(this.object, JSON.parse(await text(request)) as Json) as Json;
      if (url.searchParams.get("dryRun") === null) this.take(changed);
      send(200, this.shown(url.searchParams.get("dryRun") === null ? this.object : changed));
    } else if (url.pathname === OBJECT) {
      send(200, this.shown(this.object));
    } else if (request.method === "GET" && !/\/(deployments|statefulsets|daemonsets)\/[^/]+$/.test(url.pathname)) {
      const items = url.pathname === PODS ? this.pods() : url.pathname === SETS ? [this.set()] : [];
      send(200, { kind: "List", apiVersion: "v1", metadata: {}, items });
    } else {
      send(404, { kind: "Status", apiVersion: "v1", status: "Failure", reason: "NotFound", code: 404 });
    }
  }

  private take(changed: Json): void {
    this.changes += 1;
    const metadata = changed["metadata"] as Json;
    metadata["generation"] = Number(metadata["generation"]) + 1;
    metadata["resourceVersion"] = String(Number(metadata["resourceVersion"]) + 1);
    this.object = changed;
    this.fill();
  }

  /** Starts and stops pods until there are as many as wanted. */
  private fill(): void {
    const more = Array.from({ length: Math.max(0, this.replicas - this.began.length) }, () => new Date().toISOString());
    this.began = [...this.began, ...more].slice(0, this.replicas);
  }

  private shown(object: Json): Json {
    const { generation } = object["metadata"] as Json;
    const replicas = this.replicas;
    const counts = { replicas, readyReplicas: replicas, updatedReplicas: replicas, observedGeneration: generation };
    return { ...object, status: counts };
  }

  private set(): Json {
    const owner = { apiVersion: "apps/v1", kind: "Deployment", name: NAME, uid: UID, controller: true };
    return {
      apiVersion: "apps/v1",
      kind: "ReplicaSet",
      metadata: {
        ...SET,
        namespace: NAMESPACE,
        labels: LABELS,
        annotations: { "deployment.kubernetes.io/revision": "1" },
        ownerReferences: [owner],
      },
      spec: { replicas: this.replicas },
      status: { replicas: this.replicas },
    };
  }

  private pods(): Json[] {
    return this.began.map((startTime, index) => ({
      apiVersion: "v1",
      kind: "Pod",
      metadata: {
        name: `${SET.name}-${index}`,
        namespace: NAMESPACE,
        uid: `560b4ea8-4e66-4039-9196-73b53436925${index}`,
        creationTimestamp: startTime,
        labels: LABELS,
        ownerReferences: [{ apiVersion: "apps/v1", kind: "ReplicaSet", ...SET, controller: true }],
      },
      spec: { containers: CONTAINERS },
      status: {
        phase: "Running",
        startTime,
        conditions: [{ type: "Ready", status: "True" }],
        containerStatuses: [{ name: NAME, ready: true, restartCount: 0, state: { running: {} }, lastState: {} }],
      },
    }));
  }
}

/** A merge patch, RFC 7396. */
function merged(target: unknown, patch: unknown): unknown {
  if (typeof patch !== "object" || patch === null || Array.isArray(patch)) return patch;
  const before = typeof target === "object" && target !== null ? (target as Json) : {};
  const kept = Object.entries(before).filter(([key]) => !(key in patch));
  const given = Object.entries(patch).filter(([, value]) => value !== null);
  return Object.fromEntries([...kept, ...given.map(([key, value]) => [key, merged(before[key], value)] as const)]);
}
