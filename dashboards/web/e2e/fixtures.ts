import { type Page, test as base, expect } from "@playwright/test";

import { Aegis, PEOPLE, type Role } from "./aegis";

export { expect } from "@playwright/test";
export { PEOPLE } from "./aegis";

interface PerTest {
  /** Errors that a test provokes itself; every other one in the console fails it. */
  provoked: RegExp;
  page: Page;
}

interface PerWorker {
  /** Tests that name another one get an aegis of their own. */
  instance: string;
  /** Nobody needs a token to read, and nobody can act. */
  open: boolean;
  aegis: Aegis;
}

/** Collects what a page complains about. */
export function watch(page: Page, provoked: RegExp): string[] {
  const complaints: string[] = [];
  const hear = (text: string) => {
    if (!provoked.test(text)) complaints.push(text);
  };
  page.on("console", (message) => {
    if (message.type() === "error" || message.type() === "warning") hear(`${message.text()} ${message.location().url}`);
  });
  page.on("pageerror", (error) => hear(error.message));
  page.on("dialog", (dialog) => {
    hear(`dialog: ${dialog.message()}`);
    void dialog.dismiss();
  });
  page.on("request", (request) => {
    const { hostname, protocol } = new URL(request.url());
    const own = hostname === "127.0.0.1" || protocol === "data:" || protocol === "blob:";
    if (!own) hear(`request to elsewhere: ${request.url()}`);
  });
  return complaints;
}

export const test = base.extend<PerTest, PerWorker>({
  instance: ["", { option: true, scope: "worker" }],
  open: [false, { option: true, scope: "worker" }],
  aegis: [
    async ({ instance, open }, use) => {
      const aegis = await Aegis.start({ name: instance, open });
      await use(aegis);
      await aegis.end();
    },
    { scope: "worker" },
  ],
  baseURL: async ({ aegis }, use) => use(aegis.dashboard),
  // Nobody is signed in at first: /me is refused, which browsers write to the console.
  provoked: [/\b401\b/, { option: true }],
  page: async ({ page, provoked }, use) => {
    const complaints = watch(page, provoked);
    await use(page);
    expect(complaints).toEqual([]);
  },
});

export async function signIn(page: Page, role: Role, path = "/incidents"): Promise<void> {
  await page.goto(path);
  await page.getByLabel("API token").fill(PEOPLE[role].token);
  await page.getByRole("button", { name: "Sign in" }).click();
  await expect(page.getByText(PEOPLE[role].name, { exact: true })).toBeVisible();
}

/** Waits until changes appear by themselves. */
export async function live(page: Page): Promise<void> {
  await expect(page.getByRole("status").filter({ hasText: /^Live$/ })).toBeVisible();
}

export function row(page: Page, text: string | RegExp) {
  return page.getByRole("row").filter({ hasText: text });
}

/** Elements of the document. */
export async function elements(page: Page): Promise<number> {
  return page.evaluate(() => document.querySelectorAll("*").length);
}

/** A cut is a cut: browsers complain of what they could not load. */
export const CUT = /\b401\b|ERR_|WebSocket|Failed to load resource/;

/** Each of these incidents stands in the list once, with as many alerts as the gateway says. */
export async function same(page: Page, aegis: Aegis, titles: readonly string[]): Promise<void> {
  const known = await aegis.incidents();
  for (const title of titles) {
    const one = known.filter((incident) => incident.title.includes(title));
    expect(one, `one incident of ${title}`).toHaveLength(1);
    await expect(row(page, title)).toHaveCount(1);
    await expect(row(page, title)).toContainText(`/ ${one[0]?.members}`);
  }
}
