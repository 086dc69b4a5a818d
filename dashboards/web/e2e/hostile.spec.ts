import { expect, live, row, signIn, test } from "./fixtures";

test.use({ instance: "hostile" });

const SCRIPT = '<script>window.pwned = 1</script><img src=x onerror="window.pwned = 1">';
const LONG = "x".repeat(6_000);

test.beforeAll(async ({ aegis }) => {
  await aegis.send([
    { name: `${SCRIPT} alert`, service: "<b>bold</b>", annotations: { summary: SCRIPT } },
    { name: "javascript:window.pwned=1", service: "javascript:window.pwned=1" },
    { name: "\u202Etxet desrever\u202C RTL \u2067שלום\u2069", service: "\u202Ecivres" },
    { name: `Long ${LONG}`, service: `s${LONG.slice(0, 200)}` },
    { name: "Null \u0000 byte \u001b[31m red", service: "null\u0000service" },
    { name: "Emoji 🧨 \uD83D alone", service: "{{constructor.constructor('window.pwned=1')()}}" },
  ]);
});

test("labels of strangers are text and nothing else", async ({ page }) => {
  await signIn(page, "responder", "/incidents?status=all");
  await live(page);
  await expect(row(page, "<script>window.pwned")).toBeVisible();
  const links = await page.getByRole("grid").getByRole("link").evaluateAll((all) => all.map((one) => one.getAttribute("href")));
  expect(links.length).toBeGreaterThanOrEqual(3);
  for (const href of links) expect(href).toMatch(/^\/incidents\/[0-9a-f-]{36}$/);
  for (const href of links) {
    await page.goto(href ?? "/");
    for (const part of ["Story", "Alerts", "Raw"]) {
      await page.getByRole("tab", { name: part }).click();
      await expect(page.getByRole("tabpanel", { name: part })).toBeVisible();
    }
    const { wide, odd } = await page.evaluate(() => ({
      wide: document.documentElement.scrollWidth > window.innerWidth + 1,
      odd: [...document.querySelectorAll("a")].filter(({ protocol }) => !/^https?:$/.test(protocol)).length,
    }));
    expect({ wide, odd }).toEqual({ wide: false, odd: 0 });
  }
  expect(await page.evaluate(() => "pwned" in window)).toBe(false);
});

test.describe("addresses", () => {
  // Asked for what does not exist, the gateway says so.
  test.use({ provoked: /\b40[0-9]\b/ });

  test("of strangers lead nowhere", async ({ page }) => {
    await signIn(page, "viewer", "/incidents?status=%3Cscript%3E&text=%3Cimg%20src%3Dx%20onerror%3Dalert(1)%3E");
    await expect(page.getByRole("searchbox")).toHaveValue("<img src=x onerror=alert(1)>");
    await page.goto("/incidents/..%2F..%2Fsessions");
    await expect(page.getByRole("alert")).toBeVisible();
    await page.goto("/no/such/place");
    await expect(page.getByText("There is nothing here")).toBeVisible();
  });
});

test("the page's policy allows no script but its own", async ({ page }) => {
  const answer = await page.goto("/");
  const policy = answer?.headers()["content-security-policy"] ?? "";
  expect(policy).toContain("script-src 'self'");
  expect(policy).not.toMatch(/script-src[^;]*unsafe/);
});
