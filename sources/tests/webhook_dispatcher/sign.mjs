// Signs as senders do: with GitHub's own library, and Grafana's scheme written down once more.
// Standard input: one JSON object per line, {scheme, secret, body, time?}. Standard output: one signature per line.
import { createHmac } from "node:crypto";
import { createRequire } from "node:module";
import { createInterface } from "node:readline";

const require = createRequire(process.argv[2] + "/");
const { sign } = require("@octokit/webhooks-methods");
for await (const line of createInterface({ input: process.stdin })) {
  const { scheme, secret, body, time } = JSON.parse(line);
  if (scheme === "github") {
    console.log(await sign(secret, body));
  } else {
    const hmac = createHmac("sha256", secret);
    if (time !== undefined) hmac.update(`${time}:`);
    console.log(hmac.update(body).digest("hex"));
  }
}
