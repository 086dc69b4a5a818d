import AxeBuilder from "@axe-core/playwright";
import type { Locator, Page } from "@playwright/test";

import type { Aegis } from "./aegis";
import { expect, live, row, signIn, test } from "./fixtures";

// Browsers write to the console that the server refused a form.
test.use({ instance: "silences", provoked: /\b40[01]\b/ });

const LABELS = { env: "prod" };

test.beforeAll(async ({ aegis }) => {
  await aegis.send([
    { name: "HighLatency", service: "checkout", labels: LABELS },
    { name: "DiskFull", service: "storage", labels: LABELS },
    { name: "QueueFull", service: "mail", labels: LABELS },
    { name: "NoRoute", service: "edge", labels: LABELS },
  ]);
});

/** The responder declares one through the API. */
async function silence(aegis: Aegis, service: string, comment: string): Promise<{ id: string }> {
  const wanted = { services: [service], duration: "1h", comment };
  return aegis.api<{ id: string }>("/silences", "responder", "POST", wanted);
}

/** Its name stands in the list as well, so that nobody signs in there. */
async function control(page: Page, role: "viewer" | "responder"): Promise<void> {
  await signIn(page, role);
  await page.goto("/control?tab=silences");
}

async function incident(page: Page, title: RegExp): Promise<void> {
  await page.getByRole("link", { name: title }).click();
  await expect(page.getByRole("heading", { level: 1, name: title })).toBeVisible();
}

function banner(page: Page): Locator {
  return page.getByText(/^Messages about this incident are held back until/);
}

async function faultless(page: Page): Promise<void> {
  const found = await new AxeBuilder({ page }).withTags(["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]).analyze();
  const serious = found.violations.filter(({ impact }) => impact === "serious" || impact === "critical");
  expect(serious.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(" ")}`)).toEqual([]);
}

test("one is declared in the control panel, holds, and is ended there", async ({ page }) => {
  await control(page, "responder");
  await expect(page.getByText("Nothing is silenced")).toBeVisible();
  await page.getByRole("button", { name: "New silence…" }).click();
  const dialog = page.getByRole("dialog", { name: "New silence" });
  const services = dialog.getByRole("combobox", { name: "Services" });
  await expect(services).toBeFocused();
  await services.fill("checkout");
  await services.press("Enter");
  await expect(dialog.getByRole("button", { name: "Remove checkout" })).toBeVisible();
  await services.fill("cart");
  await dialog.getByRole("combobox", { name: "Environments" }).fill("prod");
  await dialog.getByRole("checkbox", { name: "Critical" }).check();
  await dialog.getByLabel("For", { exact: true }).selectOption("8h");
  await dialog.getByLabel("Comment").fill("Checkout moves to the new cluster");
  await dialog.getByRole("button", { name: "Silence", exact: true }).click();
  await expect(dialog).toHaveCount(0);

  const declared = row(page, "Critical incidents of checkout or cart in prod");
  await expect(declared).toContainText("Active");
  await expect(declared).toContainText(/until .*\d\d:\d\d/);
  await expect(declared).toContainText("rob");
  await expect(declared).toContainText("Checkout moves to the new cluster");
  await expect(page.getByRole("tab", { name: "Silences (1)" })).toBeVisible();

  await page.goto("/incidents");
  await incident(page, /HighLatency/);
  await expect(banner(page)).toContainText("by rob: Checkout moves to the new cluster");

  await page.goto("/control?tab=silences");
  await declared.getByRole("button", { name: "End…" }).click();
  const question = page.getByRole("dialog", { name: "End this silence?" });
  await expect(question).toContainText("Critical incidents of checkout or cart in prod");
  await question.getByRole("button", { name: "End silence" }).click();
  await expect(declared).toHaveCount(0);
  await page.getByLabel("Show ended ones").click();
  await expect(page.getByLabel("Show ended ones")).toBeChecked();
  await expect(declared).toContainText("Ended");
  await expect(declared).toContainText(/ended .*\d\d:\d\d by rob/);
  await expect(declared.getByRole("button")).toHaveCount(0);
});

test("one that is to come says when, and holds nothing back yet", async ({ page }) => {
  await control(page, "responder");
  await page.getByRole("button", { name: "New silence…" }).click();
  const dialog = page.getByRole("dialog", { name: "New silence" });
  await dialog.getByLabel("Title contains").fill("HighLatency");
  const start = new Date(Date.now() + 26 * 3_600_000).toISOString();
  await dialog.getByLabel("From").fill(start.slice(0, 16));
  await dialog.getByLabel("Comment").fill("A load test tomorrow");
  await dialog.getByRole("button", { name: "Silence", exact: true }).click();
  await expect(dialog).toHaveCount(0);
  const declared = page.getByRole("row").filter({ hasText: "A load test tomorrow" });
  await expect(declared).toContainText("To come");
  await expect(declared).toContainText(/from .*\d\d:\d\d until/);
  await page.goto("/incidents");
  await incident(page, /HighLatency/);
  await expect(banner(page)).toHaveCount(0);
  await page.goto("/control?tab=silences");
  await declared.getByRole("button", { name: "End…" }).click();
  await page.getByRole("button", { name: "End silence" }).click();
  await expect(declared).toHaveCount(0);
});

test("an incident is silenced alone, says so, and is let go again", async ({ page, aegis }) => {
  await signIn(page, "responder");
  await incident(page, /DiskFull/);
  await live(page);
  await expect(banner(page)).toHaveCount(0);
  await page.getByRole("button", { name: "Silence…", exact: true }).click();
  const dialog = page.getByRole("dialog", { name: "Silence this incident" });
  await expect(dialog.getByRole("radio", { name: /^Only this incident/ })).toBeChecked();
  await expect(dialog.getByLabel("Title contains")).toHaveCount(0);
  await dialog.getByLabel("Comment").fill("We know of the disk");
  await dialog.getByRole("button", { name: "Silence", exact: true }).click();
  await expect(banner(page)).toContainText("by rob: We know of the disk");

  const { silences } = await aegis.api<{ silences: { incidents: string[]; services: string[]; comment: string }[] }>(
    "/silences",
  );
  const one = silences.find(({ comment }) => comment === "We know of the disk");
  expect(page.url()).toContain(one?.incidents[0]);
  expect(one?.services).toEqual([]);

  await page.getByRole("button", { name: "End silence…" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Keep it" }).click();
  await expect(banner(page)).toBeVisible();
  await page.getByRole("button", { name: "End silence…" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "End silence" }).click();
  await expect(banner(page)).toHaveCount(0);
});

test("everything where an incident is can be silenced as well", async ({ page, aegis }) => {
  await signIn(page, "responder");
  await incident(page, /QueueFull/);
  await page.getByRole("button", { name: "Silence…", exact: true }).click();
  const dialog = page.getByRole("dialog", { name: "Silence this incident" });
  await dialog.getByRole("radio", { name: "Every incident of mail in prod" }).check();
  await expect(dialog.getByRole("button", { name: "Remove mail" })).toBeVisible();
  await expect(dialog.getByRole("button", { name: "Remove prod" })).toBeVisible();
  await dialog.getByLabel("Comment").fill("The mail moves");
  await dialog.getByRole("button", { name: "Silence", exact: true }).click();
  await expect(banner(page)).toContainText("by rob: The mail moves");
  const { silences } = await aegis.api<{ silences: { incidents: string[]; services: string[]; comment: string }[] }>(
    "/silences",
  );
  const one = silences.find(({ comment }) => comment === "The mail moves");
  expect(one).toMatchObject({ incidents: [], services: ["mail"], environments: ["prod"] });
});

test("a form that cannot be meant names the field, here and from the server", async ({ page }) => {
  await control(page, "responder");
  await page.getByRole("button", { name: "New silence…" }).click();
  const dialog = page.getByRole("dialog", { name: "New silence" });
  const services = dialog.getByRole("combobox", { name: "Services" });
  const comment = dialog.getByLabel("Comment");
  const send = dialog.getByRole("button", { name: "Silence", exact: true });
  await send.click();
  await expect(services).toHaveAccessibleDescription(/Say which incidents/);
  await expect(services).toBeFocused();
  await expect(comment).toHaveAttribute("aria-invalid", "true");
  await expect(comment).toHaveAccessibleDescription(/Say why, for whoever wonders/);

  await services.fill("far-away");
  await comment.fill("For ever");
  await dialog.getByLabel("For", { exact: true }).selectOption("Until a time…");
  const until = dialog.getByLabel("Until", { exact: true });
  await until.fill("2020-01-01T00:00");
  await send.click();
  await expect(until).toHaveAccessibleDescription("This time is past.");
  await expect(comment).not.toHaveAttribute("aria-invalid");
  await until.fill("2200-01-01T00:00");
  await send.click();
  await expect(until).toHaveAccessibleDescription(/days/);
  await expect(until).toBeFocused();
  await page.keyboard.press("Escape");
  await expect(dialog).toHaveCount(0);
  await expect(row(page, "far-away")).toHaveCount(0);
});

test("a viewer sees them, and reads why they are not theirs to change", async ({ page, aegis }) => {
  const { id } = await silence(aegis, "edge", "The route is mended");
  await control(page, "viewer");
  await expect(row(page, "Incidents of edge")).toContainText("The route is mended");
  const reason = "This needs a responder; you are signed in as viewer.";
  for (const button of [
    page.getByRole("button", { name: "New silence…" }),
    row(page, "Incidents of edge").getByRole("button", { name: "End…" }),
  ]) {
    await expect(button).toHaveAttribute("aria-disabled", "true");
    await expect(button).toHaveAccessibleDescription(reason);
  }
  await page.goto("/incidents");
  await incident(page, /NoRoute/);
  await expect(banner(page)).toContainText("by rob: The route is mended");
  for (const name of ["Silence…", "End silence…"]) {
    const button = page.getByRole("button", { name, exact: true });
    await expect(button).toHaveAttribute("aria-disabled", "true");
    await expect(button).toHaveAccessibleDescription(reason);
  }
  await aegis.api(`/silences/${id}/end`, "responder", "POST");
});

for (const theme of ["dark", "light"] as const) {
  test.describe(theme, () => {
    test.use({ colorScheme: theme });

    test("silences stand in nobody's way", async ({ page, aegis }) => {
      const { id } = await silence(aegis, "edge", `In the ${theme}`);
      await control(page, "responder");
      await expect(row(page, `In the ${theme}`)).toBeVisible();
      await faultless(page);
      await page.getByRole("button", { name: "New silence…" }).click();
      const dialog = page.getByRole("dialog", { name: "New silence" });
      await dialog.getByRole("combobox", { name: "Services" }).fill("checkout");
      await dialog.getByRole("combobox", { name: "Services" }).press("Enter");
      await dialog.getByRole("button", { name: "Silence", exact: true }).click();
      await expect(dialog.getByRole("alert")).toHaveCount(1);
      await faultless(page);

      await page.goto("/incidents");
      await incident(page, /NoRoute/);
      await expect(banner(page)).toContainText(`In the ${theme}`);
      await faultless(page);
      await page.getByRole("button", { name: "Silence…", exact: true }).click();
      await expect(page.getByRole("dialog", { name: "Silence this incident" })).toBeVisible();
      await faultless(page);
      await aegis.api(`/silences/${id}/end`, "responder", "POST");
    });
  });
}
