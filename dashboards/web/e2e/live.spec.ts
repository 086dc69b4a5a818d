import { CUT, expect, live, row, same, signIn, test, watch } from "./fixtures";

test.use({ instance: "live", provoked: CUT });

test("an incident appears without a reload, and grows", async ({ page, aegis }) => {
  await aegis.send([{ name: "Before", service: "before" }]);
  await signIn(page, "viewer");
  await live(page);
  await expect(row(page, "Before")).toHaveCount(1);
  await page.evaluate(() => Object.assign(window, { here: true }));
  await aegis.send([{ name: "Appears", service: "appears" }]);
  await expect(row(page, "Appears")).toContainText("1 / 1");
  await aegis.send([{ name: "Second", service: "appears", severity: "warning" }]);
  await expect(row(page, "Appears")).toContainText("2 / 2");
  expect(await page.evaluate(() => "here" in window)).toBe(true);
});

test("nothing is missed and nothing doubled after a cut", async ({ page, context, aegis }) => {
  await signIn(page, "viewer");
  await live(page);
  await aegis.send([{ name: "Cut0", service: "cut0" }]);
  await expect(row(page, "Cut0")).toHaveCount(1);
  await context.setOffline(true);
  await expect(page.getByRole("status").filter({ hasText: "Connecting again" })).toBeVisible({ timeout: 55_000 });
  await aegis.send([1, 2, 3].map((number) => ({ name: `Cut${number}`, service: `cut${number}` })));
  await aegis.send([{ name: "Cut0Second", service: "cut0", severity: "warning" }]);
  await context.setOffline(false);
  await live(page);
  await expect(row(page, "Cut3")).toHaveCount(1);
  await expect(row(page, /Cut0 /)).toContainText("/ 2");
  await same(page, aegis, ["Cut0 ", "Cut1", "Cut2", "Cut3"]);
});

test("whoever was signed out by a restart sees all of it after signing in again", async ({ page, aegis }) => {
  await signIn(page, "viewer");
  await live(page);
  await aegis.stop();
  await aegis.run();
  await aegis.send([{ name: "Meanwhile", service: "meanwhile" }]);
  await expect(page.getByLabel("API token")).toBeVisible({ timeout: 30_000 });
  await signIn(page, "viewer");
  await expect(row(page, "Meanwhile")).toHaveCount(1);
});

test("two tabs show the same", async ({ page, context, aegis }) => {
  await signIn(page, "responder");
  const second = await context.newPage();
  const complaints = watch(second, CUT);
  await second.goto("/incidents");
  await live(page);
  await live(second);
  await aegis.send([{ name: "Twice", service: "twice" }]);
  await expect(row(second, "Twice")).toContainText("1 / 1");
  await page.getByRole("link", { name: /Twice/ }).click();
  await page.getByRole("button", { name: "Resolve…" }).click();
  await page.getByRole("dialog").getByRole("textbox").fill("Seen in both");
  await page.getByRole("dialog").getByRole("button", { name: "Resolve" }).click();
  await second.getByRole("button", { name: /^Resolved/ }).click();
  await expect(row(second, "Twice")).toContainText("Resolved");
  await page.getByRole("button", { name: "Sign out" }).click();
  await expect(second.getByLabel("API token")).toBeVisible({ timeout: 45_000 });
  expect(complaints).toEqual([]);
});
