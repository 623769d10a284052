import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import type { BrowserTab } from "../../../../../bindings/web/test/browser/browser.js";
import { Firefox } from "../../../../../bindings/web/test/browser/firefox.js";
import { NAMES, type DemoUser } from "./person";
import { Program } from "./program";
import { until } from "./stage";

let program: Program;
let firefox: Firefox;

before(async () => {
  [program, firefox] = await Promise.all([Program.start({ keepsPorts: true }), Firefox.launch()]);
});
after(async () => {
  await firefox?.close();
  await program?.close();
});

/** A page in Firefox, of which the helper for it evaluates expressions. */
class FirefoxPerson {
  private constructor(readonly tab: BrowserTab) {}

  /** Two names of the same address have stores and cookies of their own: two people in one browser. */
  static async open(host: "127.0.0.1" | "localhost", path: string): Promise<FirefoxPerson> {
    return new FirefoxPerson(await firefox.open(program.url.replace("127.0.0.1", host) + path));
  }

  static async signIn(id: DemoUser, host: "127.0.0.1" | "localhost", path: string): Promise<FirefoxPerson> {
    const person = await FirefoxPerson.open(host, path);
    await person.press(NAMES[id]);
    await person.shows("textarea");
    return person;
  }

  /** Presses the button of a name. */
  async press(name: string): Promise<void> {
    const button = `[...document.querySelectorAll("button")].find((one) => (one.getAttribute("aria-label") ?? one.textContent.trim()).includes(${JSON.stringify(name)}))`;
    await until(`there is a button ${name}`, () => this.tab.evaluate<boolean>(`Boolean(${button})`), 30_000);
    await this.tab.evaluate(`${button}.click()`);
  }

  shows(selector: string): Promise<void> {
    return until(`${selector} is there`, () => this.tab.evaluate<boolean>(`document.querySelector(${JSON.stringify(selector)}) !== null`), 30_000);
  }

  async say(text: string): Promise<void> {
    await this.tab.evaluate(`(() => {
      const area = document.querySelector("textarea");
      area.focus();
      document.execCommand("insertText", false, ${JSON.stringify(text)});
      area.dispatchEvent(new KeyboardEvent("keydown", { key: "Enter", bubbles: true, cancelable: true }));
    })()`);
    await this.sees(text);
  }

  /** Waits for a message, with a state of it. */
  sees(text: string, state?: string): Promise<void> {
    const found = `[...document.querySelectorAll("[role=log] article")].some((one) => one.textContent.includes(${JSON.stringify(text)})${state === undefined ? "" : ` && one.querySelector('[aria-label=${JSON.stringify(state)}]') !== null`})`;
    return until(`${text} is there${state === undefined ? "" : `, ${state}`}`, () => this.tab.evaluate<boolean>(found), 30_000);
  }

  count(text: string): Promise<number> {
    return this.tab.evaluate<number>(`[...document.querySelectorAll("[role=log] article")].filter((one) => one.textContent.includes(${JSON.stringify(text)})).length`);
  }

  says(text: string): Promise<void> {
    return until(`the page says ${text}`, () => this.tab.evaluate<boolean>(`document.body.textContent.includes(${JSON.stringify(text)})`), 30_000);
  }
}

test("Firefox: two people chat, and see what was read", async () => {
  const maya = await FirefoxPerson.signIn("maya", "127.0.0.1", "/c/u/jonas");
  const jonas = await FirefoxPerson.signIn("jonas", "localhost", "/c/u/maya");
  await maya.say("Hello from Firefox");
  await jonas.sees("Hello from Firefox");
  await jonas.say("Hello back");
  await maya.sees("Hello back");
  await maya.sees("Hello from Firefox", "Read");
  assert.deepEqual([await maya.count("Hello from Firefox"), await jonas.count("Hello back")], [1, 1]);
  await maya.tab.close();
  await jonas.tab.close();
});

test("Firefox: without a server and back, nothing is lost", async () => {
  const maya = await FirefoxPerson.open("127.0.0.1", "/c/u/jonas");
  const jonas = await FirefoxPerson.open("localhost", "/c/u/maya");
  await Promise.all([maya.shows("textarea"), jonas.shows("textarea")]);
  await program.kill();
  await maya.says("No connection. Trying again");
  await maya.say("Written without a server");
  await maya.sees("Written without a server", "Waiting to be sent");
  await program.restart();
  await jonas.sees("Written without a server");
  await maya.tab.reload();
  await maya.sees("Written without a server", "Read");
  assert.deepEqual([await maya.count("Written without a server"), await jonas.count("Written without a server")], [1, 1]);
  await maya.tab.close();
  await jonas.tab.close();
});
