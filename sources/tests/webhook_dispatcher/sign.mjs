// Signs as senders do: with GitHub's own library; Grafana's and Slack's schemes written down once more, Slack's believed by Slack's own Bolt.
// Standard input: one JSON object per line, {scheme, secret, body, time?, stale?}. Standard output: one signature per line.
import { createHmac } from "node:crypto";
import { createRequire } from "node:module";
import { createInterface } from "node:readline";

const require = createRequire(process.argv[2] + "/");
const { sign } = require("@octokit/webhooks-methods");
for await (const line of createInterface({ input: process.stdin })) {
  const { scheme, secret, body, time, stale } = JSON.parse(line);
  if (scheme === "github") {
    console.log(await sign(secret, body));
  } else if (scheme === "slack") {
    const signature = `v0=${createHmac("sha256", secret).update(`v0:${time}:${body}`).digest("hex")}`;
    // Throws unless Bolt takes the request. What is stale it does not take, as it should.
    if (!stale) {
      require("@slack/bolt").verifySlackRequest({
        signingSecret: secret,
        body,
        headers: { "x-slack-signature": signature, "x-slack-request-timestamp": time },
      });
    }
    console.log(signature);
  } else {
    const hmac = createHmac("sha256", secret);
    if (time !== undefined) hmac.update(`${time}:`);
    console.log(hmac.update(body).digest("hex"));
  }
}
