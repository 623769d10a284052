import assert from "node:assert/strict";
import { becomes, scenario, setUp, until } from "./stage";

setUp();

scenario("an edit shows on both sides", async (stage) => {
  const [jonas, wei] = await Promise.all([stage.signIn("jonas", { path: "/c/u/wei" }), stage.signIn("wei", { path: "/c/u/jonas" })]);
  await jonas.say("Meet at nine");
  await jonas.sees("Meet at nine", "Sent");
  await wei.sees("Meet at nine");
  await jonas.composer.press("ArrowUp");
  await jonas.page.getByText("Editing a message").waitFor();
  assert.equal(await jonas.composer.inputValue(), "Meet at nine");
  await jonas.composer.fill("Meet at ten");
  await jonas.composer.press("Enter");
  for (const person of [jonas, wei]) {
    await person.message("Meet at ten").filter({ hasText: "edited" }).waitFor();
    assert.equal(await person.message("Meet at nine").count(), 0);
  }
});

scenario("a recalled message is gone on both sides", async (stage) => {
  const [amara, lin] = await Promise.all([stage.signIn("amara", { path: "/c/u/lin" }), stage.signIn("lin", { path: "/c/u/amara" })]);
  await amara.say("Not for you");
  await amara.sees("Not for you", "Sent");
  await lin.sees("Not for you");
  await amara.act("Not for you", "Recall");
  await amara.page.getByRole("dialog", { name: "Recall this message?" }).getByRole("button", { name: "Recall" }).click();
  await amara.log.getByText("You recalled a message.").waitFor();
  await lin.log.getByText("Amara Okafor recalled a message.").waitFor();
  for (const person of [amara, lin]) await person.message("Not for you").waitFor({ state: "detached" });
  await until("the list says so", async () => (await lin.listed("Amara").innerText()).includes("Amara Okafor recalled a message"));
});

scenario("reactions are joined and taken back", async (stage) => {
  const [hao, priya] = await Promise.all([stage.signIn("hao", { path: "/c/u/priya" }), stage.signIn("priya", { path: "/c/u/hao" })]);
  await hao.say("It works");
  await priya.sees("It works");
  await priya.message("It works").hover();
  await priya.page.getByRole("toolbar", { name: "Message actions" }).getByRole("button", { name: "React with 👍" }).click();
  const seen = hao.log.getByRole("button", { name: /^👍 .*Priya Raman/ });
  await seen.waitFor();
  await seen.click();
  const own = priya.log.getByRole("button", { name: /^👍 .*张浩/ });
  await own.waitFor();
  assert.match(await own.innerText(), /2/);
  await own.click();
  await hao.log.getByRole("button", { name: /^👍 (1: )?You$/ }).waitFor();
});

scenario("a reply quotes, and its quote leads back", async (stage) => {
  const account = await stage.account("tomas");
  await account.say({ user: "sofia" }, "Where is the press page?", ...Array.from({ length: 40 }, (_, index) => `line ${index}`));
  const sofia = await stage.signIn("sofia", { path: "/c/u/tomas?at=1" });
  await sofia.act("Where is the press page?", "Reply");
  await sofia.page.getByText("Replying to Tomás Herrera").waitFor();
  await sofia.say("On the intranet");
  const tomas = await stage.signIn("tomas", { path: "/c/u/sofia" });
  const quote = tomas.message("On the intranet").getByRole("button", { name: /^Go to the quoted message: / });
  await quote.waitFor();
  assert.match((await quote.getAttribute("aria-label")) ?? "", /Where is the press page\?$/);
  const original = tomas.message("Where is the press page?").filter({ hasNot: tomas.page.getByRole("button", { name: /^Go to the quoted/ }) });
  await quote.click();
  await original.waitFor();
  await until("the quoted message is in view", async () => {
    const [box, frame] = await Promise.all([original.boundingBox(), tomas.page.locator("[data-list=messages]").boundingBox()]);
    return box !== null && frame !== null && box.y >= frame.y && box.y + box.height <= frame.y + frame.height;
  });
  await tomas.log.locator('[class*="highlighted"]').filter({ hasText: "Where is the press page?" }).waitFor();
});

scenario("a pin shows for both, and is taken away", async (stage) => {
  const [maya, amara] = await Promise.all([stage.signIn("maya", { path: "/c/u/amara" }), stage.signIn("amara", { path: "/c/u/maya" })]);
  await maya.say("The door code is 1742");
  await maya.sees("The door code is 1742", "Sent");
  await maya.act("The door code is 1742", "Pin");
  await maya.sees("The door code is 1742", "Pinned");
  await amara.sees("The door code is 1742", "Pinned");
  await amara.button("Pinned messages").click();
  const hit = amara.page.getByRole("listitem").getByRole("button", { name: /The door code is 1742/ });
  await hit.waitFor();
  await maya.act("The door code is 1742", "Unpin");
  await hit.waitFor({ state: "detached" });
  await amara.page.getByText("Nothing is pinned").waitFor();
});

scenario("a mention is completed by keyboard, and calls", async (stage) => {
  const jonas = await stage.signIn("jonas");
  const maya = await stage.signIn("maya");
  await maya.open("Launch in spring");
  await maya.composer.pressSequentially("Ask @jon");
  const suggestions = maya.page.getByRole("listbox", { name: "Suggestions" });
  await suggestions.getByRole("option", { name: /Jonas Weber/, selected: true }).waitFor();
  await maya.composer.press("Enter");
  await becomes(() => maya.composer.inputValue(), "Ask @Jonas Weber ");
  await maya.composer.pressSequentially("about it");
  await maya.composer.press("Enter");
  await maya.sees("Ask @Jonas Weber about it");
  await jonas.listed("Launch in spring").getByRole("img", { name: "You were mentioned" }).waitFor();
  await jonas.open("Launch in spring");
  await jonas.sees("Ask @Jonas Weber about it");
});

scenario("a message that is forwarded arrives", async (stage) => {
  const [fang, yuki] = await Promise.all([stage.signIn("fang", { path: "/c/u/hao" }), stage.signIn("yuki")]);
  await fang.say("Holidays are listed");
  await fang.sees("Holidays are listed", "Sent");
  await fang.act("Holidays are listed", "Forward");
  const dialog = fang.page.getByRole("dialog", { name: "Forward 1 message" });
  await dialog.getByText("Lunch 🍜").click();
  await dialog.getByRole("button", { name: "Forward to 1" }).click();
  await yuki.open("Lunch");
  await yuki.sees("Holidays are listed");
});
