import type { Browser, Locator, Page } from "@playwright/test";

import type { Aegis, Role } from "./aegis";
import { CUT, expect, live, signIn, test, watch } from "./fixtures";

test.use({ instance: "presence", provoked: CUT });

test.beforeAll(async ({ aegis }) => {
  await aegis.send([
    { name: "HighErrorRate", service: "checkout" },
    { name: "DiskFull", service: "storage" },
  ]);
});

/** The page of an incident. */
async function pathOf(aegis: Aegis, title: string): Promise<string> {
  const find = async () => (await aegis.incidents()).find((incident) => incident.title.includes(title))?.id;
  await expect.poll(find).toBeTruthy();
  return `/incidents/${await find()}`;
}

/** Somebody in a browser of their own. */
async function somebody(browser: Browser, aegis: Aegis, role: Role, path: string) {
  const context = await browser.newContext();
  const page = await context.newPage();
  const complaints = watch(page, CUT);
  await signIn(page, role, `${aegis.dashboard}${path}`);
  await live(page);
  return { context, page, complaints };
}

function also(page: Page): Locator {
  return page.getByText(/^Also here:/);
}

test("two people at the same incident see each other, until one leaves", async ({ page, browser, aegis }) => {
  const path = await pathOf(aegis, "HighErrorRate");
  await signIn(page, "responder", path);
  await live(page);
  await expect(also(page)).toHaveCount(0);
  const ann = await somebody(browser, aegis, "approver", path);
  await expect(also(page)).toHaveText("Also here: ann");
  await expect(also(ann.page)).toHaveText("Also here: rob");

  await ann.page.getByRole("navigation", { name: "Way here" }).getByRole("link", { name: "Incidents" }).click();
  await expect(also(page)).toHaveCount(0);
  await ann.page.goBack();
  await expect(also(page)).toHaveText("Also here: ann");
  await expect(also(ann.page)).toHaveText("Also here: rob");

  expect(ann.complaints).toEqual([]);
  await ann.context.close();
  await expect(also(page)).toHaveCount(0);
});

test("who looks at another incident is not here", async ({ page, browser, aegis }) => {
  const path = await pathOf(aegis, "HighErrorRate");
  await signIn(page, "responder", path);
  await live(page);
  const ann = await somebody(browser, aegis, "approver", await pathOf(aegis, "DiskFull"));
  const ada = await somebody(browser, aegis, "admin", path);
  await expect(also(page)).toHaveText("Also here: ada");
  await expect(also(ann.page)).toHaveCount(0);
  await ann.page.goto(path);
  await expect(also(page)).toHaveText(/^Also here: (ada and ann|ann and ada)$/);
  await ann.context.close();
  await ada.context.close();
  await expect(also(page)).toHaveCount(0);
});

test("two tabs are one person, who is there until both are closed", async ({ page, browser, aegis }) => {
  const path = await pathOf(aegis, "HighErrorRate");
  await signIn(page, "responder", path);
  await live(page);
  const ann = await somebody(browser, aegis, "approver", path);
  const second = await ann.context.newPage();
  await second.goto(`${aegis.dashboard}${path}`);
  await live(second);
  await expect(also(second)).toHaveText("Also here: rob");
  await expect(also(page)).toHaveText("Also here: ann");
  await ann.page.close();
  await expect(also(second)).toHaveText("Also here: rob");
  await expect(also(page)).toHaveText("Also here: ann");
  await ann.context.close();
  await expect(also(page)).toHaveCount(0);
});

test("whoever was cut off sees nobody, and is seen again afterwards", async ({ page, context, browser, aegis }) => {
  const path = await pathOf(aegis, "HighErrorRate");
  await signIn(page, "responder", path);
  await live(page);
  const ann = await somebody(browser, aegis, "approver", path);
  await expect(also(page)).toHaveText("Also here: ann");
  await context.setOffline(true);
  await expect(also(page)).toHaveCount(0, { timeout: 55_000 });
  await expect(also(ann.page)).toHaveCount(0, { timeout: 55_000 });
  await context.setOffline(false);
  await live(page);
  await expect(also(page)).toHaveText("Also here: ann");
  await expect(also(ann.page)).toHaveText("Also here: rob");
  await ann.context.close();
});
