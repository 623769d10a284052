import assert from "node:assert/strict";
import { gzipSync } from "node:zlib";
import type { Response } from "playwright-core";
import { becomes, scenario, setUp, until } from "./stage";

setUp();

const PHONE = { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true };

scenario("back closes the panel, then the conversation", async (stage) => {
  const maya = await stage.signIn("maya", PHONE);
  const { page } = maya;
  await maya.open("Jonas Weber");
  await maya.list.waitFor({ state: "hidden" });
  await maya.button(/Details$/).click();
  const panel = page.getByRole("complementary", { name: "Details" });
  await panel.waitFor();
  await page.goBack();
  await panel.waitFor({ state: "detached" });
  await maya.composer.waitFor();
  await page.goBack();
  await maya.list.waitFor();
  await maya.composer.waitFor({ state: "hidden" });
  // The button of the header does the same.
  await maya.open("Jonas Weber");
  await maya.button("Back").click();
  await maya.list.waitFor();
  assert.equal(new URL(page.url()).pathname, "/");
});

scenario("a finger that rests opens the menu, and text can be selected", async (stage) => {
  const wei = await stage.signIn("wei", { ...PHONE, path: "/c/u/maya" });
  const message = wei.messages.last();
  await message.waitFor();
  const box = await message.boundingBox();
  assert.ok(box);
  const devtools = await wei.context.newCDPSession(wei.page);
  const touchPoints = [{ x: box.x + box.width / 2, y: box.y + box.height / 2 }];
  await devtools.send("Input.dispatchTouchEvent", { type: "touchStart", touchPoints });
  const menu = wei.page.getByRole("menu", { name: "Message actions" });
  await menu.waitFor();
  await devtools.send("Input.dispatchTouchEvent", { type: "touchEnd", touchPoints: [] });
  await menu.getByRole("menuitem", { name: "Select text" }).click();
  await until("its text is selected", () => wei.page.evaluate(() => String(getSelection()).length > 0));
});

scenario("the first load is small, and asks nobody else", async (stage) => {
  const amara = await stage.visitor("amara");
  const loaded: Promise<number>[] = [];
  const load = (response: Response): void => {
    if (response.request().resourceType() === "script") loaded.push(response.body().then((body) => gzipSync(body, { level: 9 }).length));
  };
  amara.page.on("response", load);
  await amara.page.goto(amara.url);
  await amara.signIn();
  await amara.listed("Launch in spring").waitFor();
  amara.page.off("response", load);
  const scripts = (await Promise.all(loaded)).reduce((sum, bytes) => sum + bytes, 0);
  assert.ok(scripts > 10_000, "scripts were seen");
  assert.ok(scripts <= 200 * 1024, `${scripts} bytes of gzipped JavaScript`);
  // With everything else that is loaded later.
  await amara.open("Launch in spring");
  await amara.button("Emoji").click();
  await amara.page.keyboard.press("Escape");
  for (const path of ["/people", "/live", "/settings"]) await amara.goTo(path);
  const { host } = new URL(amara.url);
  const others = amara.requests.filter((address) => /^(https?|wss?):/.test(address)).map((address) => new URL(address)).filter((address) => address.hostname !== "127.0.0.1" || (address.protocol !== "ws:" && address.host !== host));
  assert.deepEqual(others.map(String), []);
});

scenario("the theme is chosen, and kept", async (stage) => {
  const fang = await stage.signIn("fang", { path: "/settings/appearance" });
  const ground = (): Promise<string> => fang.page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  const light = await ground();
  await fang.page.getByRole("radio", { name: "Dark" }).check();
  await until("it is dark", async () => (await ground()) !== light);
  const dark = await ground();
  await fang.page.reload();
  await becomes(ground, dark);
});

scenario("the language is chosen, and kept", async (stage) => {
  const yuki = await stage.signIn("yuki", { path: "/settings/appearance" });
  await yuki.page.getByRole("radio", { name: "中文" }).check();
  await yuki.page.getByRole("heading", { name: "外观与语言" }).first().waitFor();
  await yuki.page.reload();
  await yuki.page.getByRole("navigation", { name: "导航" }).waitFor();
  assert.equal(await yuki.page.locator("html").getAttribute("lang"), "zh-CN");
});

scenario("somebody is asked to be a friend, and accepts", async (stage) => {
  const [ben, sofia] = await Promise.all([stage.signIn("ben", { path: "/people" }), stage.signIn("sofia", { path: "/people/requests" })]);
  await ben.button("Add a friend").first().click();
  const dialog = ben.page.getByRole("dialog", { name: "Add a friend" });
  await dialog.getByRole("textbox").first().fill("sofia");
  await dialog.getByText("Sofia Rossi").waitFor();
  await dialog.getByRole("button", { name: "Add as a friend" }).click();
  await ben.page.getByRole("dialog", { name: "Add Sofia Rossi as a friend" }).getByRole("button", { name: "Add as a friend" }).click();
  await sofia.page.getByRole("button", { name: "Accept" }).click();
  await ben.goTo("/c/u/sofia");
  await ben.say("Thank you!");
  await ben.sees("Thank you!", "Sent");
});
