import { spawn, type ChildProcess } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { cpuTicks, descendants, findProgram, type Browser, type BrowserTab } from "./browser.js";
import { Remote, announced } from "./remote.js";

const FLAGS = [
  "--headless=new", "--disable-gpu", "--disable-quic", "--disable-dev-shm-usage", "--no-first-run", "--no-default-browser-check",
  "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-extensions", "--remote-debugging-port=0",
];

/** Chromium, driven over the DevTools protocol. */
export class Chromium implements Browser {
  readonly name = "Chromium";

  private constructor(
    readonly child: ChildProcess,
    readonly remote: Remote,
    readonly profile: string,
  ) {}

  static async launch(): Promise<Chromium> {
    const program = findProgram("CHROMIUM", "chromium");
    const profile = mkdtempSync(join(tmpdir(), "im-chromium-"));
    // Its sandbox refuses to run as root.
    const flags = [...FLAGS, ...(process.getuid?.() === 0 ? ["--no-sandbox"] : []), `--user-data-dir=${profile}`, "about:blank"];
    const child = spawn(program, flags, { stdio: ["ignore", "ignore", "pipe"] });
    process.once("exit", () => child.kill("SIGKILL"));
    const url = await announced(child, /DevTools listening on (ws:\S+)/);
    return new Chromium(child, await Remote.connect(url), profile);
  }

  async open(url: string): Promise<BrowserTab> {
    const { targetId } = await this.remote.call<{ targetId: string }>("Target.createTarget", { url: "about:blank" });
    const { sessionId } = await this.remote.call<{ sessionId: string }>("Target.attachToTarget", { targetId, flatten: true });
    const tab = new ChromiumTab(this.child.pid as number, this.remote, targetId, sessionId);
    await tab.navigate(url);
    return tab;
  }

  async close(): Promise<void> {
    const gone = new Promise((resolve) => this.child.once("exit", resolve));
    await this.remote.call("Browser.close").catch(() => this.child.kill("SIGKILL"));
    await gone;
    this.remote.close();
    rmSync(this.profile, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 });
  }
}

interface Evaluated {
  readonly result: { readonly value?: string };
  readonly exceptionDetails?: { readonly text: string; readonly exception?: { readonly description?: string } };
}

class ChromiumTab implements BrowserTab {
  #pid: number | undefined;

  constructor(
    readonly browserPid: number,
    readonly remote: Remote,
    readonly targetId: string,
    readonly sessionId: string,
  ) {}

  async navigate(url: string): Promise<void> {
    await this.#call("Page.enable");
    await this.#call("Page.navigate", { url });
    await this.#loaded(url);
  }

  async evaluate<T>(expression: string): Promise<T> {
    const wrapped = `(async () => JSON.stringify(await (${expression})) ?? "null")()`;
    const { result, exceptionDetails } = await this.#call<Evaluated>("Runtime.evaluate", { expression: wrapped, awaitPromise: true, returnByValue: true });
    if (exceptionDetails) throw new Error(`${expression}: ${exceptionDetails.exception?.description ?? exceptionDetails.text}`);
    return JSON.parse(result.value ?? "null") as T;
  }

  async reload(): Promise<void> {
    await this.evaluate("(globalThis.isOld = true)");
    await this.#call("Page.reload");
    await this.#loaded("");
  }

  async close(): Promise<void> {
    await this.remote.call("Target.closeTarget", { targetId: this.targetId });
  }

  async kill(): Promise<void> {
    // The page answers nothing any more, this call included.
    this.#call("Page.crash").catch(() => {});
    await this.#gone();
  }

  // `Page.setWebLifecycleState` would go on with sockets and stop in the middle of transactions, as Chromium itself never does.
  async freeze(): Promise<void> {
    this.#pid ??= await this.#findProcess();
    process.kill(this.#pid, "SIGSTOP");
  }

  thaw(): Promise<void> {
    if (this.#pid !== undefined) process.kill(this.#pid, "SIGCONT");
    return Promise.resolve();
  }

  async screenshot(): Promise<Buffer> {
    // A tab in the background is not painted.
    await this.#call("Page.bringToFront");
    const { data } = await this.#call<{ data: string }>("Page.captureScreenshot", { format: "png" });
    return Buffer.from(data, "base64");
  }

  #call<T>(method: string, params: object = {}): Promise<T> {
    return this.remote.call<T>(method, params, { sessionId: this.sessionId });
  }

  /** The page's process: the one that computes when the page does. */
  async #findProcess(): Promise<number> {
    const ticks = (): Map<number, number> => new Map(descendants(this.browserPid).map(({ pid }) => [pid, cpuTicks(pid)]));
    const before = ticks();
    await this.evaluate("((end) => { while (performance.now() < end); })(performance.now() + 500)");
    const spent = [...ticks()].map(([pid, now]) => [pid, now - (before.get(pid) ?? 0)] as const);
    const [pid] = spent.reduce((one, other) => (other[1] > one[1] ? other : one));
    return pid;
  }

  /** Waits until the page that was asked for is there, and its script has run. */
  async #loaded(url: string): Promise<void> {
    const isThere = `!globalThis.isOld && document.readyState === "complete" && location.href.startsWith(${JSON.stringify(url)})`;
    for (let tries = 0; tries < 300; tries++) {
      // While it goes to another page there is nothing to evaluate in.
      if (await this.evaluate<boolean>(isThere).catch(() => false)) return;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    throw new Error(`${url} was not loaded within 15 s`);
  }

  async #gone(): Promise<void> {
    for (let tries = 0; tries < 200; tries++) {
      const answer = this.#call("Runtime.evaluate", { expression: "1" }).then(() => true);
      const late = new Promise<boolean>((resolve) => setTimeout(() => resolve(false), 200));
      if (!(await Promise.race([answer, late]).catch(() => false))) return;
    }
    throw new Error("the page goes on after its process was crashed");
  }
}
