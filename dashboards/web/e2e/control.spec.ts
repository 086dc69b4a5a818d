import type { Page } from "@playwright/test";

import { Aegis } from "./aegis";
import { Cluster } from "./cluster";
import { test as base, expect, live, row, signIn } from "./fixtures";

/** An aegis that may act on a cluster, and asks a person about everything. */
const test = base.extend<object, { cluster: Cluster; aegis: Aegis }>({
  cluster: [
    async ({}, use) => {
      const cluster = await Cluster.start();
      await use(cluster);
      await cluster.end();
    },
    { scope: "worker" },
  ],
  aegis: [
    async ({ cluster }, use) => {
      const settings = `[tools.kubernetes]\nurl = "${cluster.url}"\n[gate]\ncheck_every = "1s"\n`;
      const aegis = await Aegis.start({ settings });
      await use(aegis);
      await aegis.end();
    },
    { scope: "worker" },
  ],
});

const TARGET = { cluster: "default", namespace: "production", kind: "deployment", name: "api-server" };

interface Proposed {
  id: string;
  plan_hash: string;
}

/** The responder proposes another number of replicas. */
async function propose(aegis: Aegis, replicas: number, reason: string): Promise<Proposed> {
  const incident = await expect
    .poll(async () => (await aegis.incidents())[0]?.id)
    .toBeTruthy()
    .then(async () => (await aegis.incidents())[0]?.id);
  const action = { type: "scale", target: TARGET, replicas };
  return aegis.api<Proposed>(`/incidents/${incident}/propose`, "responder", "POST", { action, reason });
}

function card(page: Page, replicas: number) {
  return page.getByRole("article", { name: `Scale deployment/api-server in production to ${replicas} replicas` });
}

test.beforeAll(async ({ aegis }) => {
  await aegis.send([
    { name: "HighLatency", service: "api-server", labels: { namespace: "production", env: "production" } },
  ]);
});

test("one proposes, another approves, and it is carried out while they look", async ({ page, aegis, cluster }) => {
  await signIn(page, "approver", "/control");
  await live(page);
  await expect(page.getByText("Nothing waits for an answer")).toBeVisible();
  const { plan_hash } = await propose(aegis, 5, "More room while we look");

  const proposed = card(page, 5);
  await expect(proposed).toContainText("Waiting for approval");
  await expect(proposed).toContainText("More room while we look");
  await expect(proposed).toContainText("rob");
  await expect(proposed).toContainText(/expires in \d/);
  await expect(proposed).toContainText("Scale deployment/api-server in production to 2 replicas");
  const replicas = proposed.getByRole("row", { name: /spec\.replicas/ });
  await expect(replicas).toContainText("2");
  await expect(replicas).toContainText("5");
  expect(cluster.changes).toBe(0);

  await proposed.getByRole("button", { name: "Approve…" }).click();
  const question = page.getByRole("dialog", { name: "Approve this plan?" });
  await expect(question).toContainText("default / production / deployment/api-server");
  await expect(question).toContainText(plan_hash);
  await question.getByRole("button", { name: `Approve plan ${plan_hash.slice(0, 8)}` }).click();

  await expect(proposed).toContainText("Carried out");
  await expect(proposed).toContainText("Verified");
  await expect(proposed).toContainText("ann");
  expect(cluster.changes).toBe(1);
  expect(cluster.replicas).toBe(5);

  await page.getByRole("tab", { name: "History" }).click();
  await row(page, "to 5 replicas").click();
  await expect(page.getByRole("dialog", { name: "Remediation" })).toContainText("Verified");
});

test("a no needs a reason, and nothing happens", async ({ page, aegis, cluster }) => {
  const before = cluster.changes;
  await propose(aegis, 7, "Even more room");
  await signIn(page, "approver", "/control");
  await live(page);
  await card(page, 7).getByRole("button", { name: "Deny…" }).click();
  const question = page.getByRole("dialog", { name: "Deny this plan?" });
  await expect(question.getByRole("button", { name: "Deny" })).toHaveAttribute("aria-disabled", "true");
  await question.getByRole("textbox").fill("The database has no room for more");
  await question.getByRole("button", { name: "Deny" }).click();
  await expect(card(page, 7)).toContainText("Denied");
  await expect(card(page, 7)).toContainText("The database has no room for more");
  expect(cluster.changes).toBe(before);
});

test("who may not decide reads why", async ({ page, aegis }) => {
  await propose(aegis, 3, "Less is enough");
  await signIn(page, "responder", "/control");
  const approve = card(page, 3).getByRole("button", { name: "Approve…" });
  await expect(approve).toHaveAttribute("aria-disabled", "true");
  await expect(approve).toHaveAccessibleDescription(/needs an approver/);
});

test("an approver stops everything, and only an admin lets it go on", async ({ page, browser, aegis, cluster }) => {
  const before = cluster.changes;
  const { id, plan_hash } = await propose(aegis, 4, "A little more room");
  await signIn(page, "approver", "/control?tab=stop");
  await live(page);
  await page.getByRole("button", { name: "Stop everything…" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Stop everything", exact: true }).click();
  await expect(page.getByText("Stopped: nothing is carried out")).toBeVisible();
  await expect(page.getByRole("button", { name: "Let it go on…" })).toHaveAttribute("aria-disabled", "true");

  await aegis.api(`/remediations/${id}/approve`, "approver", "POST", { plan_hash });
  await page.getByRole("tab", { name: /Approvals/ }).click();
  await expect(page.getByText("The stop switch is on")).toBeVisible();

  const other = await browser.newContext();
  const admin = await other.newPage();
  await signIn(admin, "admin", `${aegis.dashboard}/control?tab=stop`);
  await expect(admin.getByText("Stopped: nothing is carried out")).toBeVisible();
  expect(cluster.changes).toBe(before);
  await admin.getByRole("button", { name: "Let it go on…" }).click();
  await admin.getByRole("dialog").getByRole("button", { name: "Let it go on", exact: true }).click();
  await expect(admin.getByText("Off: what is granted is carried out")).toBeVisible();
  await other.close();
  await expect(page.getByText("The stop switch is on")).toHaveCount(0);
});

test("a dead letter is looked at, sent once more, and what comes back is dropped", async ({ page, aegis }) => {
  await aegis.post("/webhooks/alertmanager", { version: "4", alerts: [{ labels: "no labels" }] });
  await signIn(page, "admin", "/control?tab=letters");
  const letter = page.getByRole("row").filter({ hasText: "wrong type" });
  await expect(async () => {
    await page.reload();
    await expect(letter).toHaveCount(1, { timeout: 2_000 });
  }).toPass();
  await letter.click();
  const dialog = page.getByRole("dialog");
  await expect(dialog.getByLabel("The bytes of the letter")).toContainText('"labels": "no labels"');
  await dialog.getByRole("button", { name: "Send it once more" }).click();
  await expect(dialog).toHaveCount(0);

  // The same bytes are refused again, so another letter is open.
  await page.getByLabel("Status").selectOption("any");
  await expect(row(page, "Replayed")).toHaveCount(1, { timeout: 30_000 });
  await expect(row(page, "Open")).toHaveCount(1, { timeout: 30_000 });
  await row(page, "Open").click();
  await expect(dialog.getByRole("button", { name: "Drop" })).toHaveAttribute("aria-disabled", "true");
  await dialog.getByLabel("or drop it, because").fill("a test by hand");
  await dialog.getByRole("button", { name: "Drop" }).click();
  await expect(row(page, "Dropped")).toHaveCount(1, { timeout: 30_000 });
});

test("senders are listed with what was refused of theirs", async ({ page }) => {
  await signIn(page, "viewer", "/control?tab=senders");
  await expect(row(page, "alertmanager")).toContainText(/taken|refused/);
});
