import AxeBuilder from "@axe-core/playwright";

import { expect, live, signIn, test } from "./fixtures";

test.use({ instance: "views" });

const VIEWS = [
  ["/incidents?status=all", "Incidents"],
  ["/agents", "Agents"],
  ["/control", "Control"],
  ["/pipeline", "Pipeline"],
  ["/analytics", "Analytics"],
  ["/start", "Connect"],
] as const;

test.beforeAll(async ({ aegis }) => {
  await aegis.send([
    { name: "HighErrorRate", service: "checkout", startsAt: new Date(Date.now() - 60_000) },
    { name: "HighLatency", service: "checkout", severity: "warning" },
    { name: "DiskFull", service: "storage", severity: "info" },
  ]);
});

for (const theme of ["dark", "light"] as const) {
  test.describe(theme, () => {
    test.use({ colorScheme: theme });

    for (const [path, name] of VIEWS) {
      test(`${name}: loads without a complaint, and nothing stands in the way of anybody`, async ({ page }) => {
        await signIn(page, "responder", path);
        await live(page);
        await expect(page.getByRole("heading", { level: 1 })).toContainText(name);
        await expect(page.getByRole("status").filter({ hasText: /loading/i })).toHaveCount(0);
        const found = await new AxeBuilder({ page }).withTags(["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]).analyze();
        const serious = found.violations.filter(({ impact }) => impact === "serious" || impact === "critical");
        expect(serious.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(" ")}`)).toEqual([]);
      });
    }

    test("an incident in all its parts", async ({ page }) => {
      await signIn(page, "responder", "/incidents?status=all");
      await page.getByRole("link", { name: /HighErrorRate/ }).click();
      for (const part of ["Story", "Alerts", "Investigation", "Postmortem", "Raw"]) {
        await page.getByRole("tab", { name: part }).click();
        await expect(page.getByRole("tabpanel", { name: part })).toBeVisible();
        const found = await new AxeBuilder({ page }).analyze();
        const serious = found.violations.filter(({ impact }) => impact === "serious" || impact === "critical");
        expect(serious.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(" ")}`)).toEqual([]);
      }
    });

    test("the sign-in page", async ({ page }) => {
      await page.goto("/");
      await expect(page.getByLabel("API token")).toBeVisible();
      const found = await new AxeBuilder({ page }).analyze();
      expect(found.violations.filter(({ impact }) => impact === "serious" || impact === "critical")).toEqual([]);
    });
  });
}

test("the theme that is chosen is kept", async ({ page }) => {
  await signIn(page, "viewer");
  await page.getByLabel("Theme").selectOption("light");
  await page.reload();
  await expect(page.locator("html")).toHaveAttribute("data-theme", "light");
  await page.getByLabel("Theme").selectOption("system");
  await expect(page.locator("html")).not.toHaveAttribute("data-theme");
});

test("everything goes with the keyboard", async ({ page }) => {
  await signIn(page, "viewer", "/agents");
  await page.keyboard.press("?");
  await expect(page.getByRole("dialog", { name: "Keyboard shortcuts" })).toContainText("Go to Incidents");
  await page.keyboard.press("Escape");
  await page.keyboard.press("g");
  await page.keyboard.press("i");
  await expect(page).toHaveURL(/\/incidents$/);
  await page.keyboard.press("/");
  await page.keyboard.type("checkout");
  await expect(page.getByRole("link", { name: /HighErrorRate/ })).toBeVisible();
  await page.keyboard.press("Escape");
  await page.keyboard.press("j");
  await page.keyboard.press("Enter");
  await expect(page).toHaveURL(/\/incidents\/[0-9a-f-]{36}/);
  await page.keyboard.press("Control+k");
  await page.keyboard.type("analy");
  await page.keyboard.press("Enter");
  await expect(page).toHaveURL(/\/analytics$/);
});
