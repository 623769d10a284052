import assert from "node:assert/strict";
import { store } from "./media";
import type { Person } from "./person";
import { becomes, scenario, setUp, until } from "./stage";
import { VECTORS } from "./vectors";

setUp();

/** What a page must not have, whatever was said. */
async function assertClean({ page, url }: Person, where: string): Promise<void> {
  const found = await page.evaluate((origin) => {
    const made = [...document.querySelectorAll('script:not([src]), iframe, object, embed, base, marquee, math, x, link[href^="javascript" i], a[href^="javascript" i], a[href^="data" i], form[action^="javascript" i], meta[http-equiv=refresh], img[src=x], audio[src=x]')];
    const handled = [...document.querySelectorAll("*")].filter((element) => element.getAttributeNames().some((name) => name.startsWith("on")));
    return { owned: "owned" in window, elements: [...made, ...handled].map((element) => element.outerHTML.slice(0, 100)), isElsewhere: location.origin !== origin };
  }, url);
  assert.deepEqual(found, { owned: false, elements: [], isElsewhere: false }, where);
}

function watchDialogs({ page }: Person): string[] {
  const opened: string[] = [];
  page.on("dialog", (dialog) => {
    opened.push(dialog.message());
    void dialog.dismiss();
  });
  return opened;
}

scenario("nothing in a message is read as HTML", async (stage) => {
  const [jonas, maya] = [await stage.account("jonas"), await stage.signIn("maya", { path: "/c/u/jonas" })];
  const dialogs = watchDialogs(maya);
  assert.ok(VECTORS.length >= 30);
  for (const [index, vector] of VECTORS.entries()) {
    await jonas.say({ user: "maya" }, `${vector} #${index}.`);
    await maya.message(`#${index}.`).filter({ hasText: vector.slice(0, 20) }).waitFor();
  }
  await assertClean(maya, "in messages and in the list");
  // In the reference of a reply, and in the quote.
  const last = `#${VECTORS.length - 1}.`;
  await maya.act(last, "Reply");
  await maya.say("an answer");
  await maya.message("an answer").getByRole("button", { name: /^Go to the quoted/ }).waitFor();
  await assertClean(maya, "in a quote");
  assert.deepEqual(dialogs, []);
});

scenario("nothing in a name, a remark or a file's name is read as HTML", async (stage) => {
  const [lin, hao] = [await stage.account("lin"), await stage.signIn("hao", { path: "/c/u/lin?info" })];
  const owner = await stage.account("hao");
  const dialogs = watchDialogs(hao);
  const heading = hao.page.getByRole("heading", { level: 1 });
  for (const vector of VECTORS.filter(({ length }) => length <= 64)) {
    await lin.api("PATCH", "/api/me", { name: vector });
    await becomes(async () => (await heading.allTextContents()).includes(vector), true);
  }
  await assertClean(hao, "in a user's name");
  for (const vector of VECTORS.filter(({ length }) => length <= 64)) {
    await owner.api("PUT", "/api/friends/lin/remark", { remark: vector });
    await becomes(async () => (await heading.allTextContents()).includes(vector), true);
  }
  await assertClean(hao, "in a remark");
  await owner.api("PUT", "/api/friends/lin/remark", { remark: "" });
  await lin.api("PATCH", "/api/me", { name: "林小雨" });

  const file = await store(lin, { name: "plain.txt", mimeType: "text/plain", buffer: Buffer.from("x") });
  for (const vector of VECTORS) await lin.say({ user: "hao" }, { file: { media: { url: `/files/${file.id}`, mimeType: "text/plain", bytes: 1, name: vector } } });
  await becomes(() => hao.log.getByRole("link", { name: /^Download / }).count().then((count) => count >= 10), true);
  await assertClean(hao, "in a file's name");
  assert.deepEqual(dialogs, []);
});

scenario("nothing in a group's name or announcement is read as HTML", async (stage) => {
  const amara = await stage.account("amara");
  const group = await amara.createGroup("Plain", "priya");
  const priya = await stage.signIn("priya", { path: `/c/g/${group.id}?info` });
  const dialogs = watchDialogs(priya);
  const panel = priya.page.getByRole("complementary", { name: "Details" });
  for (const vector of VECTORS) {
    await amara.api("PATCH", `/api/groups/${group.id}`, { ...(vector.length <= 64 && { name: vector }), announcement: vector });
    await panel.getByText(vector, { exact: true }).first().waitFor();
  }
  await priya.log.getByText(/announced: /).first().waitFor();
  await assertClean(priya, "in a group's name and announcement");
  await priya.goTo("/");
  await assertClean(priya, "in the list");
  assert.deepEqual(dialogs, []);
});

scenario("links open elsewhere, and lead where they say", async (stage) => {
  const wei = await stage.signIn("wei", { path: "/c/u/yuki" });
  await wei.say("See https://example.test/a?b=c#d and javascript:alert(1) and <https://other.test>.");
  const links = wei.message("See https://example.test").getByRole("link");
  await becomes(() => links.count(), 2);
  for (const link of await links.all()) {
    assert.match((await link.getAttribute("rel")) ?? "", /noopener/);
    assert.equal(await link.getAttribute("target"), "_blank");
    assert.match((await link.getAttribute("href")) ?? "", /^https:\/\/(example|other)\.test/);
    assert.equal(await link.getAttribute("dir"), "ltr");
  }
});

scenario("each block has the direction of its text, code has none", async (stage) => {
  const tomas = await stage.signIn("tomas", { path: "/c/u/sofia" });
  await tomas.composer.fill("שלום לכולם, hello\n\nand now in English, שלום\n\n```\nlet x = 1; // שלום עולם שלום\n```");
  await tomas.composer.press("Enter");
  const message = tomas.message("and now in English");
  const directions = (text: string) => message.locator("p, pre").filter({ hasText: text }).first().evaluate((element) => getComputedStyle(element).direction);
  assert.equal(await directions("לכולם"), "rtl");
  assert.equal(await directions("and now in English"), "ltr");
  assert.equal(await directions("let x = 1"), "ltr");
});

scenario("long words, stacked marks and 2,000 lines neither spread nor move anything sideways", async (stage) => {
  const fang = await stage.signIn("fang", { path: "/c/u/yuki", viewport: { width: 390, height: 800 } });
  const yuki = await stage.account("yuki");
  const zalgo = [..."zalgo"].map((letter) => letter + "\u0300\u0301\u0302\u0303".repeat(60)).join("");
  await yuki.say({ user: "fang" }, "a".repeat(10_000), zalgo, Array.from({ length: 2000 }, (_, index) => `line ${index} of many`).join("\n"));
  const lines = fang.message("line 0 of many");
  await lines.waitFor();
  const wide = (): Promise<number> =>
    fang.page.evaluate(() => {
      const list = document.querySelector("[data-list=messages]") as HTMLElement;
      return Math.max(list.scrollWidth - list.clientWidth, document.documentElement.scrollWidth - document.documentElement.clientWidth);
    });
  assert.equal(await wide(), 0);
  assert.ok((await lines.boundingBox())!.height < 800);
  const mark = fang.messages.filter({ hasText: /^.*z[\u0300-\u0303]/ });
  assert.ok((await mark.first().boundingBox())!.height < 120);
  const word = fang.message(/a{100}/);
  await word.getByRole("button", { name: "Show all" }).click();
  await becomes(async () => ((await word.innerText()).match(/a/g) ?? []).length >= 10_000, true);
  assert.equal(await wide(), 0);
  await lines.getByRole("button", { name: "Show all 2,000 lines" }).click();
  await until("the last line is there", async () => (await lines.innerText()).includes("line 1999 of many"));
  assert.equal(await wide(), 0);
});

scenario("overrides of direction do not turn what follows", async (stage) => {
  const ben = await stage.signIn("ben", { path: "/c/u/yuki" });
  await ben.composer.fill("pay \u202e001 to me");
  await ben.composer.press("Enter");
  const message = ben.message("pay");
  assert.ok(!/\u202e/.test((await message.textContent()) ?? ""), "the override is not in the page");
  await message.getByText("RLO").waitFor();
  const yuki = await stage.account("yuki");
  const file = await store(yuki, { name: "x.txt", mimeType: "text/plain", buffer: Buffer.from("x") });
  await yuki.say({ user: "ben" }, { file: { media: { url: `/files/${file.id}`, mimeType: "text/plain", bytes: 1, name: "invoice\u202efdp.exe" } } });
  await ben.log.getByRole("link", { name: "Download invoicefdp.exe" }).waitFor();
});
