import { CUT, expect, live, row, same, test } from "./fixtures";

// Without tokens, since a session ends with the program that it was opened on.
test.use({ instance: "restart", open: true, provoked: CUT });

for (const signal of ["SIGTERM", "SIGKILL"] as const) {
  test(`nothing is missed and nothing doubled after a restart of the program (${signal})`, async ({ page, aegis }) => {
    const name = (part: string) => `${signal}${part}`;
    await page.goto("/incidents");
    await live(page);
    await aegis.send([{ name: name("Before"), service: name("before") }]);
    await expect(row(page, name("Before"))).toHaveCount(1);
    await aegis.stop(signal);
    await expect(page.getByRole("status").filter({ hasText: "Connecting again" })).toBeVisible();
    await aegis.run();
    await aegis.send([{ name: name("After"), service: name("after") }]);
    await live(page);
    await expect(row(page, name("After"))).toHaveCount(1);
    await same(page, aegis, [name("Before"), name("After")]);
  });
}
