import { execFile } from "node:child_process";
import { promisify } from "node:util";

import { Aegis } from "./aegis";
import { test as base, expect, live, signIn } from "./fixtures";

const run = promisify(execFile);

/** An aegis that nothing has been sent to, and that takes what is meant for PagerDuty. */
const test = base.extend<object, { aegis: Aegis }>({
  aegis: [
    async ({}, use) => {
      const settings = `[dispatcher.pagerduty.integrations.checkout]\nrouting_keys = ["ROUTING-KEY"]\n`;
      const aegis = await Aegis.start({ settings });
      await use(aegis);
      await aegis.end();
    },
    { scope: "worker" },
  ],
});

test.describe.configure({ mode: "serial" });

test("the first page tells how to begin, and lights up with the first event", async ({ page, aegis }) => {
  await signIn(page, "viewer", "/");
  await expect(page).toHaveURL(/\/start$/);
  await live(page);
  const arrived = page.getByRole("region", { name: "What has arrived" });
  await expect(arrived).toContainText("Waiting for the first event");
  // It knows where that is.
  await expect(page.getByLabel(/Address of the dispatcher/)).toHaveValue(aegis.dispatcher);
  const command = await page.getByLabel("curl: what to paste", { exact: true }).innerText();
  // Just what a person pastes into a shell.
  const { stdout } = await run("sh", ["-c", command]);
  expect(stdout).toContain("202");
  await expect(arrived).toContainText("It works");
  await expect(arrived).toContainText("alertmanager: 1 request");
  await arrived.getByRole("link", { name: /HelloAegis|first alert/ }).click();
  await expect(page).toHaveURL(/\/incidents\/[0-9a-f-]{36}/);
});

for (const sender of ["CloudEvents", "PagerDuty events"]) {
  test(`what stands there for ${sender} is taken`, async ({ page, aegis }) => {
    await signIn(page, "viewer", "/start");
    await page.getByLabel(/Address of the dispatcher/).fill(aegis.dispatcher);
    await page.getByRole("tab", { name: sender }).click();
    const { stdout } = await run("sh", [
      "-c",
      await page.getByLabel(`${sender}: what to paste`, { exact: true }).innerText(),
    ]);
    expect(stdout).toMatch(/HTTP\/1\.1 202/);
  });
}

test("every sender has its address and a button that copies", async ({ page, context }) => {
  await context.grantPermissions(["clipboard-read", "clipboard-write"]);
  await signIn(page, "viewer", "/start");
  await page.getByLabel(/Address of the dispatcher/).fill("https://aegis.example");
  for (const tab of await page.getByRole("tab").all()) {
    await tab.click();
    const panel = page.getByRole("tabpanel");
    const [text] = await panel.locator("pre").allInnerTexts();
    expect(text).toContain("aegis.example");
    await panel.getByRole("button", { name: /Copy/ }).first().click();
    await expect(panel.getByText("Copied")).toBeVisible();
    expect(await page.evaluate(() => navigator.clipboard.readText())).toBe(text);
  }
});

test("an address that is none is refused", async ({ page }) => {
  await signIn(page, "viewer", "/start");
  await page.getByLabel(/Address of the dispatcher/).fill("javascript:alert(1)");
  await expect(page.getByText("Write it as http://HOST:PORT.")).toBeVisible();
  await expect(page.getByLabel("curl: what to paste", { exact: true })).not.toContainText("javascript");
});
