/** Pictures of the dashboard: node pictures.mjs URL-OF-AN-INCIDENT FOLDER */
import { mkdirSync } from "node:fs";
import { join } from "node:path";

import { chromium } from "@playwright/test";

const [incident, folder] = process.argv.slice(2);
const site = new URL(incident).origin;
const views = [
  ["incidents", `${site}/incidents?status=all`, "dark"],
  ["incident", incident, "dark"],
  ["control", `${site}/control?tab=history`, "light"],
  ["agents", `${site}/agents`, "light"],
  ["pipeline", `${site}/pipeline`, "dark"],
  ["analytics", `${site}/analytics`, "light"],
];

mkdirSync(folder, { recursive: true });
const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: ["--no-sandbox"] });
for (const [name, url, colorScheme] of views) {
  const page = await browser.newPage({ viewport: { width: 1280, height: 800 }, colorScheme, reducedMotion: "reduce", locale: "en-GB", timezoneId: "UTC" });
  await page.goto(url);
  // Charts and maps are drawn when their data is there.
  await page.waitForLoadState("load");
  await page.waitForTimeout(3_000);
  await page.screenshot({ path: join(folder, `${name}.png`) });
  await page.close();
}
await browser.close();
