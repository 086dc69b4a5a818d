import { defineConfig } from "@playwright/test";

/**
 * End-to-end tests against a real aegis, each file of tests with one of its own, with a data folder and ports of its own.
 * AEGIS_BIN: the program, built with the page in it. CHROMIUM: the browser.
 */
export default defineConfig({
  testDir: "e2e",
  fullyParallel: false,
  workers: 1,
  retries: 0,
  forbidOnly: process.env.CI !== undefined,
  // A shared machine takes many times what a quiet one does.
  timeout: 180_000,
  expect: { timeout: 30_000 },
  reporter: [["list"]],
  use: {
    browserName: "chromium",
    viewport: { width: 1440, height: 900 },
    locale: "en-GB",
    timezoneId: "UTC",
    trace: "retain-on-failure",
    launchOptions: {
      executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
      args: ["--no-sandbox"],
    },
  },
});
