import { expect, live, row, signIn, test } from "./fixtures";

test("the map and its table show every stage, and what flows", async ({ page, aegis }) => {
  await signIn(page, "viewer", "/pipeline");
  await live(page);
  const map = page.getByRole("region", { name: "Map of the pipeline" });
  for (const stage of ["normalize", "dedupe", "correlate"]) {
    await expect(map.getByRole("button", { name: `stage ${stage}` })).toBeVisible();
    await expect(row(page, `${stage} stage`)).toContainText("balanced");
  }
  await expect(map.getByRole("button", { name: "sink sql" })).toBeVisible();
  await expect(map.getByText("transitions", { exact: true })).toBeVisible();

  const many = Array.from({ length: 300 }, (_, index) => ({ name: `Alert${index}`, service: `service-${index % 7}` }));
  await aegis.send(many);
  await expect(row(page, "normalize stage").getByRole("cell").nth(1)).toHaveText(/^[1-9][\d,.]*\/s$|^0\.[1-9]\/s$/);
  await expect(row(page, "correlate stage").getByRole("cell").nth(3)).toHaveText("0");
});

test("a stage opens with the keyboard, with its books and partitions", async ({ page }) => {
  await signIn(page, "viewer", "/pipeline");
  await live(page);
  await page.getByRole("button", { name: "stage dedupe" }).focus();
  await page.keyboard.press("Enter");
  const dialog = page.getByRole("dialog", { name: "dedupe" });
  await expect(dialog.getByRole("row", { name: /Forwarded/ })).toContainText(/\d/);
  await expect(dialog.getByRole("row", { name: /signals\/0/ })).toContainText(/\d/);
  await page.keyboard.press("Escape");
  await expect(dialog).toHaveCount(0);
});

test("side topics are shown when asked for", async ({ page }) => {
  await signIn(page, "viewer", "/pipeline");
  const late = page.getByRole("img", { name: "topic late" });
  await expect(page.getByRole("button", { name: "stage dedupe" })).toBeVisible();
  await expect(late).toHaveCount(0);
  await page.getByLabel(/Side topics/).check();
  await expect(late).toHaveCount(1);
});
