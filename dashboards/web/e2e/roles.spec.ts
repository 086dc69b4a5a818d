import { PEOPLE, expect, live, signIn, test } from "./fixtures";

test.use({ instance: "roles" });

test.beforeAll(async ({ aegis }) => {
  await aegis.send([{ name: "HighErrorRate", service: "checkout" }]);
});

test("a wrong token is refused with a reason, a right one is kept nowhere", async ({ page }) => {
  await page.goto("/incidents");
  await page.getByLabel("API token").fill("not-a-token");
  await page.getByRole("button", { name: "Sign in" }).click();
  await expect(page.getByRole("alert")).toContainText("No named token");
  await page.getByLabel("API token").fill(PEOPLE.responder.token);
  await page.getByRole("button", { name: "Sign in" }).click();
  await expect(page.getByText("rob", { exact: true })).toBeVisible();
  const kept = await page.evaluate(() => JSON.stringify([{ ...localStorage }, { ...sessionStorage }, document.cookie]));
  expect(kept).not.toContain(PEOPLE.responder.token);
  expect(kept).not.toContain("aegis_session");
});

test("a session outlives a reload, and ends for good", async ({ page }) => {
  await signIn(page, "viewer");
  await page.reload();
  await expect(page.getByText("vera", { exact: true })).toBeVisible();
  await page.getByRole("button", { name: "Sign out" }).click();
  await expect(page.getByLabel("API token")).toBeVisible();
  await page.goto("/agents");
  await expect(page.getByLabel("API token")).toBeVisible();
});

test("a viewer reads why something is not for them", async ({ page }) => {
  await signIn(page, "viewer");
  await page.getByRole("link", { name: /HighErrorRate/ }).click();
  const acknowledge = page.getByRole("button", { name: "Acknowledge" });
  await expect(acknowledge).toHaveAttribute("aria-disabled", "true");
  await expect(acknowledge).toHaveAccessibleDescription("This needs a responder; you are signed in as viewer.");
});

test("a responder acknowledges and resolves, and sees it come about", async ({ page }) => {
  await signIn(page, "responder");
  await page.getByRole("link", { name: /HighErrorRate/ }).click();
  await live(page);
  await page.getByRole("button", { name: "Acknowledge" }).click();
  await expect(page.getByText("rob took it on")).toBeVisible();
  await page.getByRole("button", { name: "Resolve…" }).click();
  const dialog = page.getByRole("dialog");
  await expect(dialog.getByRole("button", { name: "Resolve" })).toHaveAttribute("aria-disabled", "true");
  await dialog.getByRole("textbox").fill("Rolled back to 1.4.1");
  await dialog.getByRole("button", { name: "Resolve" }).click();
  await expect(page.getByText(/resolved by rob after/)).toBeVisible();
  await expect(page.getByText("Rolled back to 1.4.1").first()).toBeVisible();
});

test("a session that is ended elsewhere shows the sign-in page", async ({ page, aegis }) => {
  await signIn(page, "approver");
  await live(page);
  await aegis.api("/sessions", "approver", "DELETE");
  await expect(page.getByLabel("API token")).toBeVisible({ timeout: 45_000 });
});
