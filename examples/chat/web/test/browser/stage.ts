import assert from "node:assert/strict";
import { existsSync, mkdirSync } from "node:fs";
import { delimiter, join } from "node:path";
import { after, before, test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { chromium, type Browser, type BrowserContextOptions } from "playwright-core";
import { findProgram } from "../../../../../bindings/web/test/browser/browser.js";
import { Account } from "./account";
import { Person, type DemoUser } from "./person";
import { Program } from "./program";

const TIMEOUT_MS = 15_000;
const FLAGS = ["--no-sandbox", "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream", "--autoplay-policy=no-user-gesture-required"];
const DESKTOP: BrowserContextOptions = { viewport: { width: 1280, height: 800 }, locale: "en-GB", reducedMotion: "reduce", colorScheme: "light" };

/** The program and the browser of a test file. */
let program: Program;
let browser: Browser;

/** Starts them before the tests of this file. With `keepsPorts`, the program can be restarted. */
export function setUp(options: { readonly keepsPorts?: boolean } = {}): void {
  before(async () => {
    const launched = chromium.launch({ executablePath: executable(), args: FLAGS });
    [program, browser] = await Promise.all([Program.start(options), launched]);
  });
  after(async () => {
    await browser?.close();
    await program?.close();
  });
}

function executable(): string {
  const name = findProgram("CHROMIUM", "chromium");
  const paths = (process.env["PATH"] ?? "").split(delimiter).map((folder) => join(folder, name));
  return name.includes("/") ? name : (paths.find((path) => existsSync(path)) ?? name);
}

export interface SignInOptions extends BrowserContextOptions {
  /** Where the page is opened. */
  readonly path?: string;
}

/** A test's people. They leave when it ends. */
export class Stage {
  readonly #people: Person[] = [];
  readonly #accounts: Account[] = [];

  constructor(
    readonly program: Program,
    readonly browser: Browser,
  ) {}

  /** Opens a browser of its own without anybody signed in. */
  async visitor(id: DemoUser, options: BrowserContextOptions = {}): Promise<Person> {
    const context = await this.browser.newContext({ ...DESKTOP, ...options });
    context.setDefaultTimeout(TIMEOUT_MS);
    await context.grantPermissions(["clipboard-read", "clipboard-write", "camera", "microphone", "notifications"]);
    const person = new Person(id, this.program.url, context, await context.newPage());
    this.#people.push(person);
    return person;
  }

  /** Opens a browser of its own in which a user of the demonstration is signed in. */
  async signIn(id: DemoUser, { path = "/", ...options }: SignInOptions = {}): Promise<Person> {
    const person = await this.visitor(id, options);
    await person.page.goto(this.program.url + path);
    await person.signIn();
    return person;
  }

  /** Signs a user in without a browser. */
  async account(id: DemoUser): Promise<Account> {
    const account = await Account.demo(this.program, id);
    this.#accounts.push(account);
    return account;
  }

  async photograph(name: string): Promise<void> {
    const folder = process.env["PICTURES"] ?? "failures/";
    mkdirSync(folder, { recursive: true });
    const pages = this.#people.flatMap(({ id, context }, number) => context.pages().map((page, index) => ({ page, path: `${folder}${name.replace(/\W+/g, "-")}-${number}-${id}-${index}.png` })));
    await Promise.all(pages.map(({ page, path }) => page.screenshot({ path, timeout: 5000 }).catch(() => undefined)));
  }

  /** What the pages' consoles have called errors, and what nobody caught. */
  get said(): string[] {
    return this.#people.flatMap(({ exceptions, errors }) => [...exceptions, ...errors]);
  }

  /** Fails if a page threw what nobody caught. */
  check(): void {
    assert.deepEqual(this.#people.flatMap(({ exceptions }) => exceptions), []);
  }

  async close(): Promise<void> {
    await Promise.all(this.#accounts.map((account) => account.close()));
    await Promise.all(this.#people.map(({ context }) => context.close()));
  }
}

/** A test with people. Pictures of their pages are kept if it fails. */
export function scenario(name: string, run: (stage: Stage) => Promise<void>): void {
  test(name, { timeout: 120_000 }, async () => {
    const stage = new Stage(program, browser);
    try {
      await run(stage);
      stage.check();
    } catch (error) {
      await stage.photograph(name);
      console.error([name, ...stage.said].join("\n  "));
      throw error;
    } finally {
      await stage.close();
    }
  });
}

/** Waits until a condition holds. */
export async function until(what: string, holds: () => Promise<boolean> | boolean, timeoutMs = TIMEOUT_MS): Promise<void> {
  const end = Date.now() + timeoutMs;
  while (!(await holds())) {
    if (Date.now() > end) throw new Error(`not within ${timeoutMs / 1000} s: ${what}`);
    await pause(20);
  }
}

/** Waits until a value is as wanted, and fails with both if it is not. */
export async function becomes<T>(read: () => Promise<T>, wanted: T, timeoutMs = TIMEOUT_MS): Promise<void> {
  const end = Date.now() + timeoutMs;
  let value = await read();
  while (JSON.stringify(value) !== JSON.stringify(wanted) && Date.now() <= end) {
    await pause(20);
    value = await read();
  }
  assert.deepEqual(value, wanted);
}
