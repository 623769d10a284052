import assert from "node:assert/strict";
import { picture } from "./media";
import type { Person } from "./person";
import { becomes, scenario, setUp, until } from "./stage";

setUp();

/** Dispatches a key as an input method or an engine does. */
function press(person: Person, key: string, init: { readonly isComposing?: boolean; readonly keyCode?: number } = {}): Promise<void> {
  return person.composer.evaluate((area, [name, more]) => void area.dispatchEvent(new KeyboardEvent("keydown", { key: name as string, bubbles: true, cancelable: true, ...(more as object) })), [key, init] as const);
}

const compose = (person: Person, type: "compositionstart" | "compositionend"): Promise<void> => person.composer.evaluate((area, name) => void area.dispatchEvent(new CompositionEvent(name, { bubbles: true, data: "你好" })), type);

scenario("the Enter of an input method does not send", async (stage) => {
  const lin = await stage.signIn("lin", { path: "/c/u/hao" });
  const before = await lin.messages.count();
  await lin.composer.fill("你好");
  // Chromium and Firefox say that they compose, older ones by the key code alone.
  await press(lin, "Enter", { isComposing: true, keyCode: 229 });
  await press(lin, "Enter", { isComposing: true });
  await press(lin, "Enter", { keyCode: 229 });
  // Safari ends the composition first.
  await compose(lin, "compositionstart");
  await press(lin, "Enter");
  await lin.composer.evaluate((area) => {
    area.dispatchEvent(new CompositionEvent("compositionend", { bubbles: true, data: "你好" }));
    area.dispatchEvent(new KeyboardEvent("keydown", { key: "Enter", bubbles: true, cancelable: true }));
  });
  assert.equal(await lin.composer.inputValue(), "你好");
  // The next one is the user's.
  await until("Enter sends again", async () => {
    await lin.composer.press("Enter");
    return (await lin.composer.inputValue()).trim() === "";
  });
  await lin.sees("你好", "Sent");
  assert.equal(await lin.messages.count(), before + 1);
});

scenario("an input method of the browser composes, and its Enter does not send", async (stage) => {
  const hao = await stage.signIn("hao", { path: "/c/u/wei" });
  await hao.composer.click();
  const devtools = await hao.context.newCDPSession(hao.page);
  await devtools.send("Input.imeSetComposition", { text: "ni hao", selectionStart: 6, selectionEnd: 6 });
  await becomes(() => hao.composer.inputValue(), "ni hao");
  await devtools.send("Input.dispatchKeyEvent", { type: "rawKeyDown", key: "Process", code: "Enter", windowsVirtualKeyCode: 229 });
  await devtools.send("Input.insertText", { text: "你好" });
  await becomes(() => hao.composer.inputValue(), "你好");
  await until("Enter sends what was composed", async () => {
    await hao.composer.press("Enter");
    return (await hao.composer.inputValue()) === "";
  });
  await hao.sees("你好", "Sent");
});

scenario("completions are safe with an input method", async (stage) => {
  const maya = await stage.signIn("maya");
  await maya.open("Launch in spring");
  await maya.composer.pressSequentially("@so");
  const option = maya.page.getByRole("listbox", { name: "Suggestions" }).getByRole("option", { name: /Sofia Rossi/ });
  await option.waitFor();
  await press(maya, "Enter", { isComposing: true, keyCode: 229 });
  assert.equal(await maya.composer.inputValue(), "@so");
  await press(maya, "ArrowDown", { isComposing: true, keyCode: 229 });
  await maya.composer.press("Tab");
  await becomes(() => maya.composer.inputValue(), "@Sofia Rossi ");
  await maya.composer.fill("");
  await maya.composer.pressSequentially(":heart");
  await maya.page.getByRole("listbox", { name: "Suggestions" }).getByRole("option").first().waitFor();
  await maya.composer.press("ArrowDown");
  await maya.composer.press("ArrowUp");
  await maya.composer.press("Enter");
  await until("an emoji stands there", async () => /^\p{Emoji}/u.test(await maya.composer.inputValue()));
  // Esc closes them, and leaves the text.
  await maya.composer.fill("");
  await maya.composer.pressSequentially("@so");
  await option.waitFor();
  await maya.composer.press("Escape");
  await option.waitFor({ state: "detached" });
  assert.equal(await maya.composer.inputValue(), "@so");
});

scenario("Shift+Enter begins a line, and a setting has Ctrl+Enter send", async (stage) => {
  const amara = await stage.signIn("amara", { path: "/c/u/jonas" });
  await amara.composer.pressSequentially("first");
  await amara.composer.press("Shift+Enter");
  await amara.composer.pressSequentially("second");
  assert.equal(await amara.composer.inputValue(), "first\nsecond");
  await amara.composer.press("Enter");
  await amara.sees(/first\s+second/, "Sent");

  await amara.goTo("/settings/writing");
  await amara.page.getByRole("radio", { name: "Ctrl + Enter" }).check();
  await amara.goTo("/c/u/jonas");
  await amara.composer.pressSequentially("third");
  await amara.composer.press("Enter");
  await amara.composer.pressSequentially("fourth");
  assert.equal(await amara.composer.inputValue(), "third\nfourth");
  await amara.composer.press("Control+Enter");
  await amara.sees(/third\s+fourth/, "Sent");
});

scenario("a picture, rich text and 20,000 characters are pasted", async (stage) => {
  const priya = await stage.signIn("priya", { path: "/c/u/fang" });
  const bytes = [...picture("pasted.png", 40, 30).buffer];
  await priya.composer.evaluate((area, data) => {
    const clipboardData = new DataTransfer();
    clipboardData.items.add(new File([new Uint8Array(data)], "pasted.png", { type: "image/png" }));
    area.dispatchEvent(new ClipboardEvent("paste", { clipboardData, bubbles: true, cancelable: true }));
  }, bytes);
  await priya.page.getByRole("list", { name: "Attachments" }).getByText("pasted.png").waitFor();
  await priya.button("Remove pasted.png").click();

  // What was rich comes as its text.
  await priya.page.evaluate(() => navigator.clipboard.write([new ClipboardItem({ "text/html": new Blob(["<b>bold</b> words"], { type: "text/html" }), "text/plain": new Blob(["bold words"], { type: "text/plain" }) })]));
  await priya.composer.press("Control+v");
  await becomes(() => priya.composer.inputValue(), "bold words");

  const long = "All work and no play. ".repeat(910).slice(0, 20_000);
  await priya.page.evaluate((text) => navigator.clipboard.writeText(text), long);
  await priya.composer.press("Control+a");
  await priya.composer.press("Control+v");
  await becomes(async () => (await priya.composer.inputValue()).length, 20_000);
  await priya.composer.press("Enter");
  await priya.sees("All work and no play", "Sent");
  const message = priya.message("All work and no play");
  assert.ok((await message.innerText()).length < 4000, "it is collapsed");
  await message.getByRole("button", { name: "Show all" }).click();
  await until("all of it is shown", async () => (await message.innerText()).length >= 19_000);
});

scenario("a double click on send, and a key that is held, send once", async (stage) => {
  const wei = await stage.signIn("wei", { path: "/c/u/yuki" });
  await wei.composer.fill("Only once, please");
  await wei.button("Send").dblclick();
  await wei.sees("Only once, please", "Sent");
  await wei.composer.fill("Held down");
  await wei.composer.evaluate((area) => {
    for (let count = 0; count < 5; count++) area.dispatchEvent(new KeyboardEvent("keydown", { key: "Enter", bubbles: true, cancelable: true, repeat: count > 0 }));
  });
  await wei.sees("Held down", "Sent");
  const yuki = await stage.signIn("yuki", { path: "/c/u/wei" });
  await yuki.sees("Held down");
  assert.deepEqual([await yuki.message("Only once, please").count(), await yuki.message("Held down").count()], [1, 1]);
});

scenario("the composer grows to 40 % of the height, then scrolls", async (stage) => {
  const fang = await stage.signIn("fang", { path: "/c/u/yuki" });
  const height = async (): Promise<number> => (await fang.composer.boundingBox())?.height ?? 0;
  const one = await height();
  await fang.composer.fill("a\nb\nc\nd");
  await until("it has grown", async () => (await height()) > one * 2);
  await fang.composer.fill("line\n".repeat(200));
  const most = await height();
  assert.ok(most <= 0.4 * 800 + 2 && most > 0.3 * 800, `${most} px of 800`);
  assert.ok(await fang.composer.evaluate((area) => area.scrollHeight > area.clientHeight), "it scrolls");
});

scenario("an emoji of several characters is deleted as one, and a message of emoji is large", async (stage) => {
  const tomas = await stage.signIn("tomas", { path: "/c/u/hao" });
  for (const emoji of ["👩‍👩‍👧‍👦", "🇳🇴", "👍🏽", "🏳️‍🌈", "1️⃣"]) {
    await tomas.composer.fill(`a${emoji}`);
    await tomas.composer.press("End");
    await tomas.composer.press("Backspace");
    assert.equal(await tomas.composer.inputValue(), "a", emoji);
  }
  const size = (text: string) => tomas.message(text).locator("p").first().evaluate((element) => parseFloat(getComputedStyle(element).fontSize));
  await tomas.say("🎉🎂");
  await tomas.say("plain words");
  assert.ok((await size("🎉🎂")) >= 1.5 * (await size("plain words")));
});
