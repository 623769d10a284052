import assert from "node:assert/strict";
import { becomes, scenario, setUp } from "./stage";

setUp();

scenario("a draft survives a reload, and shows on the other device", async (stage) => {
  const maya = await stage.signIn("maya", { path: "/c/u/amara" });
  await maya.composer.fill("Half a sentence");
  await maya.page.reload();
  await maya.composer.waitFor();
  await becomes(() => maya.composer.inputValue(), "Half a sentence");

  const phone = await stage.signIn("maya");
  await phone.listed("Amara Okafor").getByText("Draft:").waitFor();
  await phone.open("Amara Okafor");
  await becomes(() => phone.composer.inputValue(), "Half a sentence");
  await phone.composer.press("Enter");
  await phone.sees("Half a sentence");
  await maya.sees("Half a sentence");
  await phone.goTo("/");
  await phone.listed("Amara Okafor").getByText("You: Half a sentence").waitFor();
  assert.equal(await phone.listed("Amara Okafor").getByText("Draft:").count(), 0);
});

scenario("reading on one device clears the other within 1 s", async (stage) => {
  const fang = await stage.account("fang");
  const [desk, phone] = await Promise.all([stage.signIn("yuki"), stage.signIn("yuki")]);
  await fang.say({ user: "yuki" }, "one", "two", "three");
  for (const device of [desk, phone]) await device.listed("方静").getByText("3 unread messages").waitFor();
  await desk.open("方静");
  await desk.sees("three");
  const began = Date.now();
  await phone.listed("方静").getByText(/unread message/).waitFor({ state: "detached" });
  assert.ok(Date.now() - began < 1000, `it took ${Date.now() - began} ms`);
});

scenario("signing a device out from another one closes it", async (stage) => {
  const [desk, lost] = await Promise.all([stage.signIn("hao", { path: "/settings/devices" }), stage.signIn("hao", { path: "/c/u/lin" })]);
  await lost.composer.waitFor();
  await desk.page.reload();
  const others = desk.page.getByRole("main").getByRole("listitem").filter({ hasNotText: "This browser" });
  await others.first().waitFor();
  assert.equal(await others.count(), 1);
  await others.getByRole("button", { name: "Sign out" }).click();
  await lost.page.getByRole("heading", { name: "Welcome" }).waitFor();
  await becomes(() => others.count(), 0);
  await desk.goTo("/c/u/lin");
  await desk.say("Still here");
  await desk.sees("Still here", "Sent");
});

scenario("signing out signs out the other tabs", async (stage) => {
  const priya = await stage.signIn("priya");
  const other = await priya.tab("/settings");
  await other.button("Sign out").click();
  for (const { page } of [priya, other]) await page.getByRole("heading", { name: "Welcome" }).waitFor();
  await priya.page.reload();
  await priya.page.getByRole("heading", { name: "Welcome" }).waitFor();
});
