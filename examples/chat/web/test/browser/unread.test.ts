import assert from "node:assert/strict";
import type { Person } from "./person";
import { becomes, scenario, setUp, until } from "./stage";

setUp();

const icon = ({ page }: Person): Promise<string | null> => page.locator('link[rel="icon"]').getAttribute("href");

/** Has the page believe that its tab is hidden, or shown again. */
function hide({ page }: Person, isHidden: boolean): Promise<void> {
  return page.evaluate((hidden) => {
    Object.defineProperty(document, "visibilityState", { configurable: true, get: () => (hidden ? "hidden" : "visible") });
    Object.defineProperty(document, "hidden", { configurable: true, get: () => hidden });
    document.dispatchEvent(new Event("visibilitychange"));
  }, isHidden);
}

async function readEverything(person: Person): Promise<void> {
  await person.list.getByRole("listitem").first().waitFor();
  await person.button("More").first().click();
  const all = person.page.getByRole("menuitem", { name: "Mark all as read" });
  if (await all.isEnabled()) await all.click();
  else await person.page.keyboard.press("Escape");
  await becomes(() => person.page.title(), "Chat");
}

scenario("title and icon say what the list says", async (stage) => {
  const [maya, jonas, lin] = [await stage.signIn("maya"), await stage.account("jonas"), await stage.account("lin")];
  await readEverything(maya);
  assert.equal(await icon(maya), "/favicon.svg");
  await jonas.say({ user: "maya" }, "one", "two");
  await lin.say({ user: "maya" }, "three");
  await becomes(() => maya.page.title(), "(3) Chat");
  await becomes(() => icon(maya), "/favicon-unread.svg");
  await maya.listed("Jonas Weber").getByText("2 unread messages").waitFor();
  await maya.listed("林小雨").getByText("1 unread message").waitFor();
  // Own messages never count.
  const phone = await stage.account("maya");
  await phone.say({ user: "wei" }, "from my phone");
  await maya.listed("陈伟").getByText("You: from my phone").waitFor();
  assert.equal(await maya.page.title(), "(3) Chat");
  await maya.open("Jonas Weber");
  await becomes(() => maya.page.title(), "(1) Chat");
  await maya.open("林小雨");
  await becomes(() => maya.page.title(), "Chat");
  await becomes(() => icon(maya), "/favicon.svg");
});

scenario("what is recalled no longer counts", async (stage) => {
  const [yuki, fang] = [await stage.signIn("yuki"), await stage.account("fang")];
  await readEverything(yuki);
  await fang.say({ user: "yuki" }, "stays", "goes");
  await becomes(() => yuki.page.title(), "(2) Chat");
  const { messages } = await (await fang.device()).history({ user: "yuki" }, { limit: 1 });
  const [last] = messages;
  assert.equal(last?.content.text?.text, "goes");
  await fang.say({ user: "yuki" }, { change: { messageId: last.id, seq: last.seq, recall: {} } });
  await becomes(() => yuki.page.title(), "(1) Chat");
});

scenario("a conversation is marked as unread, and all as read", async (stage) => {
  const wei = await stage.signIn("wei");
  await readEverything(wei);
  await wei.listed("Maya Lindqvist").hover();
  await wei.button("Actions for Maya Lindqvist").click();
  await wei.page.getByRole("menuitem", { name: "Mark as unread" }).click();
  await wei.listed("Maya Lindqvist").getByText("Marked as unread").waitFor();
  await wei.button("More").first().click();
  await wei.page.getByRole("menuitem", { name: "Mark all as read" }).click();
  await wei.listed("Maya Lindqvist").getByText("Marked as unread").waitFor({ state: "detached" });
});

scenario("what comes to a hidden tab is read when the tab is looked at", async (stage) => {
  const [hao, priya] = await Promise.all([stage.signIn("hao", { path: "/c/u/priya" }), stage.signIn("priya", { path: "/c/u/hao" })]);
  await readEverything(priya);
  await hao.say("Can you see me?");
  await hao.sees("Can you see me?", "Read");
  await hide(priya, true);
  await hao.say("And now?");
  await priya.sees("And now?");
  await becomes(() => priya.page.title(), "(1) Chat");
  assert.equal(await hao.message("And now?").getByRole("img", { name: "Read" }).count(), 0);
  await hide(priya, false);
  await hao.sees("And now?", "Read");
  await becomes(() => priya.page.title(), "Chat");
});

scenario("what comes below the view is read when it is scrolled to", async (stage) => {
  const [amara, tomas] = [await stage.account("amara"), await stage.signIn("tomas", { path: "/c/u/amara" })];
  await readEverything(tomas);
  await amara.say({ user: "tomas" }, ...Array.from({ length: 60 }, (_, index) => `line ${index}`));
  await tomas.sees("line 59");
  await becomes(() => tomas.page.title(), "Chat");
  await tomas.message("line 59").hover();
  await tomas.page.mouse.wheel(0, -600);
  await tomas.button("Go to the newest message").waitFor();
  await amara.say({ user: "tomas" }, "out of sight", "and this");
  await tomas.button("Go to the newest message, 2 unread").waitFor();
  await becomes(() => tomas.page.title(), "(2) Chat");
  await tomas.button("Go to the newest message, 2 unread").click();
  await tomas.message("and this").waitFor();
  await becomes(() => tomas.page.title(), "Chat");
  await until("it is at the end", () => tomas.page.locator("[data-list=messages]").evaluate((list) => list.scrollHeight - list.scrollTop - list.clientHeight < 2));
});

scenario("the line above new messages stays while they are read", async (stage) => {
  const [yuki, ben] = [await stage.account("yuki"), await stage.signIn("ben")];
  await readEverything(ben);
  await yuki.say({ user: "ben" }, "an old one");
  await ben.open("Yuki Tanaka");
  await ben.sees("an old one");
  await ben.page.getByRole("link", { name: "People" }).click();
  await yuki.say({ user: "ben" }, "a new one", "another new one");
  await ben.page.getByRole("navigation", { name: "Areas" }).getByRole("link", { name: /Chats/ }).click();
  await ben.open("Yuki Tanaka");
  const line = ben.log.getByRole("separator", { name: "New messages" });
  await line.waitFor();
  await becomes(() => ben.page.title(), "Chat");
  await line.waitFor();
  const [above, below] = [await line.boundingBox(), await ben.message("a new one").first().boundingBox()];
  assert.ok(above && below && above.y < below.y);
  assert.ok(((await ben.message("an old one").boundingBox())?.y ?? Infinity) < above.y);
});
