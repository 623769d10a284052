import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import type { BrowserTab } from "./browser/browser.js";
import { Chromium } from "./browser/chromium.js";
import { Firefox } from "./browser/firefox.js";

/** Waits until an expression holds in a page. */
async function until(tab: BrowserTab, expression: string): Promise<void> {
  const isTrue = `new Promise((resolve, reject) => {
    const late = setTimeout(() => (clearInterval(poll), reject(new Error(document.body.innerText))), 20000);
    const poll = setInterval(() => { if (${expression}) { clearInterval(poll); clearTimeout(late); resolve(true); } }, 50);
  })`;
  assert.equal(await tab.evaluate(isTrue), true, expression);
}

const type = (tab: BrowserTab, form: string, field: string, text: string): Promise<unknown> =>
  tab.evaluate(`((form) => { form.elements.${field}.value = ${JSON.stringify(text)}; form.requestSubmit(); })(document.getElementById(${JSON.stringify(form)}))`);

test("examples/web-chat: two users in two browsers chat in the lobby and with each other", async () => {
  const program = process.env["IM_WEB_CHAT"] ?? "../../target/debug/web-chat";
  assert.ok(existsSync(program), `${program} is missing: run \`cargo build --workspace --bins\`, or set IM_WEB_CHAT to where it is`);
  assert.ok(existsSync("dist/index.js"), "dist/index.js is missing: run `npm run build`");
  const data = mkdtempSync(join(tmpdir(), "im-web-chat-"));
  const child = spawn(program, ["--listen", "127.0.0.1:0", "--devices", "127.0.0.1:0", "--data", data, "--client", "dist"], {
    stdio: ["ignore", "pipe", "inherit"], env: { ...process.env, RUST_LOG: "error" },
  });
  const [chromium, firefox] = await Promise.all([Chromium.launch(), Firefox.launch()]);
  try {
    const url = await new Promise<string>((resolve, reject) => {
      child.once("exit", (code) => reject(new Error(`web-chat ended with ${code}`)));
      let printed = "";
      child.stdout.on("data", (text) => {
        const found = /open (http:\S+)/.exec((printed += text))?.[1];
        if (found !== undefined) resolve(found);
      });
    });
    const alice = await chromium.open(`${url}/`);
    // She says who she is.
    await until(alice, 'document.querySelector("dialog").open');
    await type(alice, "login", "user", "alice");
    await until(alice, 'document.getElementById("state")?.textContent === "online"');
    const bob = await firefox.open(`${url}/?user=bob`);
    await until(bob, 'document.getElementById("state").textContent === "online"');
    const shows = (text: string): string => `[...document.querySelectorAll("#messages li:not(.pending)")].some((item) => item.textContent.includes(${JSON.stringify(text)}))`;

    await type(alice, "write", "text", "hello, lobby");
    for (const tab of [alice, bob]) await until(tab, shows("hello, lobby"));
    await type(bob, "write", "text", "hello, alice");
    for (const tab of [alice, bob]) await until(tab, shows("hello, alice"));

    // Between the two of them; it counts as unread until she looks.
    await type(bob, "open", "user", "alice");
    await type(bob, "write", "text", "just between us");
    await until(alice, '[...document.querySelectorAll("#list button")].some((button) => button.textContent === "bobjust between us1")');
    await alice.evaluate('[...document.querySelectorAll("#list button")].find((button) => button.textContent.startsWith("bob")).click()');
    await until(alice, shows("just between us"));
    await until(alice, 'document.querySelector("#list i") === null');

    // Everything is there after a reload.
    await bob.reload();
    await until(bob, shows("hello, alice"));
  } finally {
    child.kill("SIGKILL");
    await Promise.all([chromium.close(), firefox.close()]);
    rmSync(data, { recursive: true, force: true });
  }
});
