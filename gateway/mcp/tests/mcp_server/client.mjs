// The official TypeScript SDK against an MCP server of ours: over HTTP at URL with TOKEN, and over the pipe of a command where one is given.
// Prints one line of JSON with what it saw. The SDK itself holds each structured answer against the schema of its tool.
import { createRequire } from "node:module";
import { strict as assert } from "node:assert";

const [modules, url, token, incident, ...command] = process.argv.slice(2);
const require = createRequire(`${modules}/`);
const { Client } = require("@modelcontextprotocol/sdk/client/index.js");
const { StreamableHTTPClientTransport } = require("@modelcontextprotocol/sdk/client/streamableHttp.js");
const { StdioClientTransport } = require("@modelcontextprotocol/sdk/client/stdio.js");

async function look(transport) {
  const client = new Client({ name: "aegis-test", version: "1.0.0" });
  await client.connect(transport);
  await client.ping();
  const { tools } = await client.listTools();
  for (const tool of tools) assert.ok(tool.outputSchema, `${tool.name} has no output schema`);
  const answers = {};
  const ask = async (name, given) => {
    const answer = await client.callTool({ name, arguments: given });
    assert.ok(!answer.isError, `${name}: ${JSON.stringify(answer.content)}`);
    answers[name] = answer.structuredContent;
  };
  await ask("list_incidents", { status: "open", limit: 5 });
  for (const name of ["get_incident", "explain_incident", "get_findings"]) await ask(name, { incident_id: incident });
  await ask("list_remediations", {});
  await ask("list_dead_letters", { limit: 1 });
  await ask("pipeline_status", {});
  await ask("query_sql", { sql: "select title from incidents limit 3" });
  if (tools.some((tool) => tool.name === "kubernetes_find")) await ask("kubernetes_find", { name: "api-server" });
  const wrong = await client.callTool({ name: "get_incident", arguments: { incident_id: "nonsense" } });
  assert.equal(wrong.isError, true);
  await assert.rejects(client.callTool({ name: "kubernetes_restart", arguments: {} }));
  const { resources } = await client.listResources();
  const { resourceTemplates } = await client.listResourceTemplates();
  const timeline = await client.readResource({ uri: `aegis://incidents/${incident}/timeline` });
  const runbook = await client.readResource({ uri: resources[0].uri });
  const { prompts } = await client.listPrompts();
  const prompt = await client.getPrompt({ name: "investigate_incident", arguments: { incident_id: incident } });
  const completed = await client.complete({
    ref: { type: "ref/prompt", name: "investigate_incident" },
    argument: { name: "incident_id", value: incident.slice(0, 8) },
  });
  // One that the client gives up on before it is answered leaves the session usable.
  const gone = new AbortController();
  const given = client.callTool({ name: "pipeline_status", arguments: {} }, undefined, { signal: gone.signal });
  gone.abort();
  await assert.rejects(given);
  await client.ping();
  await client.close();
  return {
    server: client.getServerVersion().name,
    tools: tools.map((tool) => tool.name),
    rows: answers.query_sql.row_count,
    ready: answers.pipeline_status.ready,
    alerts: answers.get_incident.alerts.length,
    why: answers.explain_incident.because[0].why,
    resources: resources.length,
    templates: resourceTemplates.length,
    timeline: timeline.contents[0].text.split("\n")[0],
    runbook: runbook.contents[0].text,
    prompts: prompts.map((one) => one.name),
    embedded: prompt.messages[1].content.type,
    completed: completed.completion.values.includes(incident),
  };
}

const headers = { Authorization: `Bearer ${token}` };
const http = await look(new StreamableHTTPClientTransport(new URL(url), { requestInit: { headers } }));
const seen = { http };
if (command.length > 0) {
  const [program, ...args] = command;
  seen.pipe = await look(new StdioClientTransport({ command: program, args, env: process.env, stderr: "inherit" }));
}
console.log(JSON.stringify(seen));
