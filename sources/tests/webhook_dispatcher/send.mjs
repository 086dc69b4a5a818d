// Sends to a dispatcher as programs do that use the senders' own libraries.
// Arguments: the folder of the packages, the dispatcher's address, Slack's signing secret, the address for OTLP over gRPC. Standard output: a line per request that was
// answered 2xx, or what went wrong.
import { createHmac } from "node:crypto";
import { createRequire } from "node:module";

const [, , modules, base, secret, grpc] = process.argv;
const require = createRequire(modules + "/");

// CloudEvents SDK: three modes.
{
  const { CloudEvent, HTTP, Mode, emitterFor, httpTransport } = require("cloudevents");
  const url = base + "/webhooks/events";
  const event = (id) =>
    new CloudEvent({
      id, source: "/sdk", type: "com.example.disk", subject: "disk-7", time: "2026-11-23T08:48:26.002Z", extra: "é",
      data: { title: "Disk full", status: "firing", severity: "critical", service: "db", starts_at: "2026-11-23T08:48:26.002Z", dedup_key: "disk-7" },
    });
  for (const mode of [Mode.BINARY, Mode.STRUCTURED]) {
    const emit = emitterFor(httpTransport(url), { mode });
    const answer = await emit(event(`one-${mode}`));
    console.log("cloudevents", mode, JSON.parse(answer.body).accepted);
  }
  const batch = [event("a"), event("b")].map((one) => JSON.parse(HTTP.structured(one).body));
  const headers = { "content-type": "application/cloudevents-batch+json" };
  const answer = await fetch(url, { method: "POST", headers, body: JSON.stringify(batch) });
  console.log("cloudevents batch", (await answer.json()).accepted);
}

// OpenTelemetry SDK: OTLP over HTTP in both encodings, over gRPC, and compressed.
for (const [name, compression] of [["http", "none"], ["proto", "none"], ["proto", "gzip"], ["grpc", "none"], ["grpc", "gzip"]]) {
  const { LoggerProvider, SimpleLogRecordProcessor } = require("@opentelemetry/sdk-logs");
  const { OTLPLogExporter } = require(`@opentelemetry/exporter-logs-otlp-${name}`);
  const url = name === "grpc" ? grpc : base + "/v1/logs";
  const exporter = new OTLPLogExporter({ url, compression });
  const sent = new Promise((resolve) => {
    const exported = exporter.export.bind(exporter);
    exporter.export = (records, done) => exported(records, (result) => { done(result); resolve(result); });
  });
  const provider = new LoggerProvider({ processors: [new SimpleLogRecordProcessor({ exporter })] });
  const logger = provider.getLogger("test");
  logger.emit({ severityNumber: 17, severityText: "ERROR", body: `division by zero (${name}, ${compression})`, attributes: { "order.id": 7 } });
  const result = await sent;
  console.log("otlp", name, compression, result.code === 0 ? true : String(result.error));
  await provider.shutdown();
}

// Slack: signed as Slack documents it, believed by Slack's own library first.
{
  const { verifySlackRequest } = require("@slack/bolt");
  const payload = { type: "block_actions", user: { id: "U1" }, actions: [{ action_id: "something_else", value: "1" }] };
  const body = "payload=" + encodeURIComponent(JSON.stringify(payload));
  const send = async (timestamp, signature, text) => {
    const headers = { "content-type": "application/x-www-form-urlencoded", "x-slack-request-timestamp": String(timestamp), "x-slack-signature": signature };
    const answer = await fetch(base + "/slack/interactivity", { method: "POST", headers, body: text });
    return answer.status;
  };
  const now = Math.floor(Date.now() / 1000);
  const sign = (timestamp, text) => "v0=" + createHmac("sha256", secret).update(`v0:${timestamp}:${text}`).digest("hex");
  const believed = (timestamp, signature, text) => {
    try {
      verifySlackRequest({ signingSecret: secret, body: text, headers: { "x-slack-signature": signature, "x-slack-request-timestamp": timestamp } });
      return true;
    } catch {
      return false;
    }
  };
  const genuine = [now, sign(now, body), body];
  const altered = [now, sign(now, body), body + "&x=1"];
  const stale = [now - 301, sign(now - 301, body), body];
  for (const [name, request] of [["genuine", genuine], ["altered", altered], ["stale", stale]]) {
    console.log("slack", name, believed(...request), await send(...request));
  }
}
