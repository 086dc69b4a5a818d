import { readFile } from "node:fs/promises";

import type { Page } from "@playwright/test";

import { expect, row, signIn, test } from "./fixtures";

const ALERTS = 40;

test.beforeAll(async ({ aegis }) => {
  const alerts = Array.from({ length: ALERTS }, (_, index) => ({
    name: index % 2 === 0 ? "HighErrorRate" : "HighLatency",
    service: ["checkout", "payments"][index % 2] ?? "checkout",
    severity: index % 4 === 0 ? "critical" : "warning",
    labels: { pod: `pod-${index}` },
  }));
  await aegis.send(alerts);
  const counted = async () => {
    const query = "SELECT CAST(COALESCE(SUM(signals), 0) AS BIGINT) FROM signals_by_minute WHERE kind = 'alert'";
    const answer = await aegis.api<{ rows: unknown[][] }>("/sql", "viewer", "POST", { query });
    return Number(answer.rows[0]?.[0]);
  };
  await expect.poll(counted, { timeout: 30_000 }).toBe(ALERTS);
});

function panel(page: Page, name: string) {
  return page.getByRole("region", { name, exact: true });
}

test("charts are drawn of real rows, each with its table", async ({ page }) => {
  await signIn(page, "viewer", "/analytics?range=1h");
  const alerts = page.getByRole("term").filter({ hasText: /^Alerts$/ });
  await expect(alerts.locator("xpath=following-sibling::dd")).toHaveText(String(ALERTS));
  for (const name of ["Signals", "Noise reduction", "Times by service", "Times by rule", "Services with most alerts"]) {
    await expect(panel(page, name).locator("svg .recharts-bar-rectangle path").first(), name).toBeAttached();
  }
  const services = panel(page, "Services with most alerts");
  await services.getByRole("button", { name: "Table" }).click();
  await expect(services.getByRole("row", { name: /checkout/ })).toContainText("10");
  const rules = panel(page, "Times by rule");
  await rules.getByRole("button", { name: "Table" }).click();
  await expect(rules.getByRole("row", { name: /HighErrorRate/ })).toBeVisible();
  await expect(panel(page, "Remediations")).toContainText("Nothing was proposed");
});

test("every range is asked without a fault", async ({ page }) => {
  await signIn(page, "viewer", "/analytics");
  for (const range of ["1 hour", "7 days", "30 days", "24 hours"]) {
    await page.getByText(range, { exact: true }).click();
    await expect(page.getByRole("radio", { name: range })).toBeChecked();
    await expect(panel(page, "Signals").locator("svg .recharts-bar-rectangle path").first()).toBeAttached();
    await expect(page.getByRole("alert")).toHaveCount(0);
  }
});

test("a chart's SQL is opened, changed, run and saved", async ({ page }) => {
  await signIn(page, "viewer", "/analytics?range=1h");
  await panel(page, "Times by service").getByRole("button", { name: "Open SQL" }).click();
  const sql = panel(page, "SQL");
  await expect(sql.getByRole("textbox")).toHaveValue(/FROM incidents i/);
  await sql.getByRole("button", { name: "Run" }).click();
  await expect(row(page, "checkout").first()).toBeVisible();

  await sql.getByRole("textbox").fill("SELECT service, title FROM incidents WHERE service = 'payments' LIMIT 1");
  await page.keyboard.press("Control+Enter");
  await expect(sql.getByRole("status")).toContainText("1 row in");
  const download = page.waitForEvent("download");
  await sql.getByRole("button", { name: "Download CSV" }).click();
  const saved = await readFile(await (await download).path(), "utf8");
  expect(saved).toMatch(/^service,title\r\npayments,/);
});

test("an answer of many rows stays small in the document", async ({ page }) => {
  await signIn(page, "viewer", "/analytics?range=1h");
  await page.getByRole("button", { name: "SQL", exact: true }).click();
  const sql = panel(page, "SQL");
  await sql.getByRole("textbox").fill("SELECT a.id, b.title FROM signals a CROSS JOIN signals b LIMIT 1500");
  await sql.getByRole("button", { name: "Run" }).click();
  await expect(sql.getByRole("status")).toContainText("1,500 rows");
  expect(await sql.getByRole("row").count()).toBeLessThan(60);
});

test.describe("what is wrong", () => {
  test.use({ provoked: /\b40[01]\b/ });

  test("a statement that cannot be run says why", async ({ page }) => {
    await signIn(page, "viewer", "/analytics");
    await page.getByRole("button", { name: "SQL", exact: true }).click();
    const sql = panel(page, "SQL");
    await sql.getByRole("textbox").fill("SELECT * FROM nowhere");
    await sql.getByRole("button", { name: "Run" }).click();
    await expect(sql.getByRole("alert")).toContainText("nowhere");
    await sql.getByRole("textbox").fill("DELETE FROM incidents");
    await sql.getByRole("button", { name: "Run" }).click();
    await expect(sql.getByRole("alert")).not.toContainText("nowhere");
  });
});
