import assert from "node:assert/strict";
import { becomes, scenario, setUp } from "./stage";

setUp({ keepsPorts: true });

scenario("offline and back: nothing is lost, also over a reload", async (stage) => {
  const [maya, wei] = await Promise.all([stage.signIn("maya", { path: "/c/u/wei" }), stage.signIn("wei", { path: "/c/u/maya" })]);
  await maya.say("Before the tunnel");
  await wei.sees("Before the tunnel");

  await maya.context.setOffline(true);
  const began = Date.now();
  await maya.page.getByText("You are offline.").waitFor();
  assert.ok(Date.now() - began < 3000, "the banner is there within 3 s");
  await maya.say("Written in the tunnel");
  await maya.say("And another one");
  await maya.sees("Written in the tunnel", "Waiting to be sent");
  await maya.page.getByText("2 messages will be sent once you are back.").waitFor();
  await wei.say("Said meanwhile");

  await maya.context.setOffline(false);
  await maya.page.reload();
  await wei.sees("And another one");
  await maya.sees("Said meanwhile");
  await maya.sees("And another one", "Read");
  for (const { message } of [maya, wei].map((person) => ({ message: person.message.bind(person) }))) {
    for (const text of ["Written in the tunnel", "And another one", "Said meanwhile"]) assert.equal(await message(text).count(), 1, text);
  }
  const order = (await wei.messages.allInnerTexts()).filter((text) => /tunnel|another/.test(text)).map((text) => /Before|Written|another/.exec(text)?.[0]);
  assert.deepEqual(order, ["Before", "Written", "another"]);
  await maya.page.getByText("You are offline.").waitFor({ state: "hidden" });
});

scenario("back without a reload: the outbox is sent, in its order", async (stage) => {
  const [lin, hao] = await Promise.all([stage.signIn("lin", { path: "/c/u/hao" }), stage.signIn("hao", { path: "/c/u/lin" })]);
  await lin.context.setOffline(true);
  for (const text of ["first of three", "second of three", "third of three"]) await lin.say(text);
  await lin.context.setOffline(false);
  await hao.sees("third of three");
  await lin.sees("third of three", "Read");
  for (const { messages } of [lin, hao]) {
    assert.deepEqual((await messages.allInnerTexts()).flatMap((text) => /\w+ of three/.exec(text)?.[0] ?? []), ["first of three", "second of three", "third of three"]);
  }
});

scenario("the server is killed in the middle of a conversation", async (stage) => {
  const [amara, tomas] = await Promise.all([stage.signIn("amara", { path: "/c/u/tomas" }), stage.signIn("tomas", { path: "/c/u/amara" })]);
  await amara.say("Before the crash");
  await tomas.sees("Before the crash");

  await stage.program.kill();
  await amara.page.getByText("No connection. Trying again").waitFor();
  await amara.say("Said to nobody");
  await amara.sees("Said to nobody", "Waiting to be sent");
  await stage.program.restart();

  await tomas.sees("Said to nobody");
  await amara.sees("Said to nobody", "Read");
  await tomas.say("Here again");
  await amara.sees("Here again");
  for (const { messages } of [amara, tomas]) {
    await becomes(async () => (await messages.allInnerTexts()).flatMap((text) => /Before the crash|Said to nobody|Here again/.exec(text)?.[0] ?? []), ["Before the crash", "Said to nobody", "Here again"]);
  }
});

scenario("two tabs: both show what one sends, once, and go on when the first is closed", async (stage) => {
  const sofia = await stage.signIn("sofia", { path: "/c/u/yuki" });
  const other = await sofia.tab("/c/u/yuki");
  const yuki = await stage.signIn("yuki", { path: "/c/u/sofia" });
  await other.say("From the second tab");
  for (const person of [sofia, other, yuki]) await person.sees("From the second tab");
  await yuki.say("To both tabs");
  for (const person of [sofia, other]) await person.sees("To both tabs");
  for (const person of [sofia, other]) {
    for (const text of ["From the second tab", "To both tabs"]) assert.equal(await person.message(text).count(), 1, text);
  }

  await sofia.page.close();
  await other.say("Without the leader");
  await yuki.sees("Without the leader");
  await yuki.say("To the one that is left");
  await other.sees("To the one that is left");
  const third = await other.tab("/c/u/yuki");
  await third.sees("To the one that is left");
  assert.equal(await third.message("Without the leader").count(), 1);
});
