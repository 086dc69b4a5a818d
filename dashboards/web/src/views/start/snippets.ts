/** How each sender is told to send to Aegis: what to paste, and where. Every one is told in `docs/guides/senders.md`. */

/** Where the dispatcher is, as senders see it. */
export interface Address {
  /** `http://127.0.0.1:3001`, without a slash at the end. */
  base: string;
  /** `127.0.0.1:3001`. */
  hostPort: string;
}

export interface Snippet {
  id: string;
  name: string;
  /** Where the text belongs. */
  where: string;
  text: string;
  /** What else is to be known, if anything. */
  note?: string;
  /** A second piece, for Aegis' own configuration. */
  settings?: string;
}

/** The address that was typed, or `null` if it is none. */
export function readAddress(typed: string): Address | null {
  try {
    const url = new URL(/^[a-z]+:\/\//i.test(typed.trim()) ? typed.trim() : `http://${typed.trim()}`);
    if (url.protocol !== "http:" && url.protocol !== "https:") return null;
    if (url.hostname === "" || (url.pathname !== "/" && url.pathname !== "") || url.search !== "") return null;
    return { base: url.origin, hostPort: url.host };
  } catch {
    return null;
  }
}

/** The dispatcher's port unless the settings say another. */
const DISPATCHER_PORT = "3001";

/**
 * Where the dispatcher is for who sees this page at `host`: at the port on which it listens, at its own address only where that is
 * one of a network. `listens` is null until it is known.
 */
export function dispatcherFor(listens: string | null, host: string): string {
  const [, address, port] = /^(.*):(\d+)$/.exec(listens ?? "") ?? [null, "", DISPATCHER_PORT];
  const anyOrOwn = ["", "0.0.0.0", "[::]", "127.0.0.1", "[::1]"].includes(address ?? "");
  return `http://${anyOrOwn ? host : address}:${port}`;
}

/** An alert as Alertmanager sends it. The fingerprint makes it the same alert, however often it is sent. */
const TEST_ALERT = (now: Date) =>
  JSON.stringify({
    version: "4",
    groupKey: "first-steps",
    status: "firing",
    receiver: "aegis",
    groupLabels: {},
    commonLabels: {},
    commonAnnotations: {},
    externalURL: "",
    alerts: [
      {
        status: "firing",
        labels: { alertname: "HelloAegis", service: "first-steps", env: "test", severity: "warning" },
        annotations: { summary: "A first alert, sent by hand" },
        startsAt: now.toISOString(),
        endsAt: "0001-01-01T00:00:00Z",
        generatorURL: "",
        fingerprint: "00000000000a3615",
      },
    ],
  });

export function snippets({ base, hostPort }: Address, now: Date): [Snippet, ...Snippet[]] {
  return [
    {
      id: "curl",
      name: "curl",
      where: "Any shell on a machine that reaches Aegis",
      text: `curl -i ${base}/webhooks/alertmanager \\
  -H 'Content-Type: application/json' \\
  -d '${TEST_ALERT(now)}'`,
      note: "Answers 202 when the alert is durable. It opens one incident of the service “first-steps”; sent again, it is the same alert.",
    },
    {
      id: "alertmanager",
      name: "Alertmanager",
      where: "alertmanager.yml",
      text: `route:
  receiver: aegis
receivers:
  - name: aegis
    webhook_configs:
      - url: ${base}/webhooks/alertmanager`,
      note: "Keep send_resolved on (it is the default): otherwise incidents end only when their time is over.",
    },
    {
      id: "prometheus",
      name: "Prometheus",
      where: "prometheus.yml, without an Alertmanager or beside one",
      text: `alerting:
  alertmanagers:
    - static_configs:
        - targets: ["${hostPort}"]${base.startsWith("https:") ? "\n      scheme: https" : ""}`,
      note: "Both ways at once are fine: an alert that comes from Prometheus and from Alertmanager is one alert.",
    },
    {
      id: "grafana",
      name: "Grafana",
      where: "A provisioning file, or Alerting → Contact points → Webhook with the same URL",
      text: `apiVersion: 1
contactPoints:
  - orgId: 1
    name: aegis
    receivers:
      - uid: aegis
        type: webhook
        settings:
          url: ${base}/webhooks/grafana
          httpMethod: POST`,
      note: "Grafana's own payload needs no template.",
    },
    {
      id: "pagerduty",
      name: "PagerDuty events",
      where:
        "Whatever sends to PagerDuty's Events API v2: give it this address instead of https://events.pagerduty.com",
      text: `curl -i ${base}/v2/enqueue \\
  -H 'Content-Type: application/json' \\
  -d '{"routing_key":"ROUTING-KEY","event_action":"trigger","dedup_key":"first-steps","payload":{"summary":"A first alert, sent by hand","source":"shell","severity":"warning"}}'`,
      settings: `[dispatcher.pagerduty.integrations.checkout]
routing_keys = [{ file = "/run/secrets/checkout-routing-key" }]`,
      note: "The integration's name is the service of its alerts. Change events go to /v2/change/enqueue.",
    },
    {
      id: "github",
      name: "GitHub",
      where: "Repository or organisation → Settings → Webhooks",
      text: `Payload URL   ${base}/webhooks/github
Content type  application/json
Secret        a long random text, e.g. from: openssl rand -hex 32
Events        deployments, deployment statuses, releases, workflow runs, security alerts`,
      settings: `[dispatcher.github]
secrets = [{ file = "/run/secrets/github-webhook" }]`,
      note: "GitHub must reach the address: put a reverse proxy with TLS in front. Deployments become suspects of what breaks after them.",
    },
    {
      id: "otlp",
      name: "OTLP logs",
      where: "OpenTelemetry collector",
      text: `exporters:
  otlphttp/aegis:
    endpoint: ${base}
service:
  pipelines:
    logs:
      exporters: [otlphttp/aegis]`,
      note: "Posts to /v1/logs. Over gRPC once dispatcher.otlp_grpc_listen is set. Loki's clients push to /loki/api/v1/push.",
    },
    {
      id: "cloudevents",
      name: "CloudEvents",
      where: "Anything that can send JSON",
      text: `curl -i ${base}/webhooks/events \\
  -H 'Content-Type: application/cloudevents+json' \\
  -d '{"specversion":"1.0","id":"1","source":"https://ci.example/checkout","type":"com.example.disk","data":{"title":"Disk almost full","severity":"critical","status":"firing","service":"checkout","dedup_key":"disk-7"}}'`,
      note: "A type that contains “deploy” or “release” becomes a change. Other JSON goes to /webhooks/json/NAME, read by rules of your own.",
    },
    {
      id: "slack",
      name: "Slack",
      where: "The Slack app's settings: where Aegis tells, and where approvals are given",
      text: `Interactivity request URL  ${base}/slack/interactivity
Slash command /aegis       ${base}/slack/commands`,
      settings: `[notify.receivers.ops]
kind = "slack"
channel = "C0123456789"
token = { env = "SLACK_BOT_TOKEN" }

[[notify.routes]]
receivers = ["ops"]

[dispatcher.slack]
signing_secrets = [{ env = "SLACK_SIGNING_SECRET" }]
users = { U0123456789 = { name = "ada", role = "approver" } }`,
      note: "Slack must reach the address over TLS. The bot needs the scopes chat:write and channels:history.",
    },
  ];
}
