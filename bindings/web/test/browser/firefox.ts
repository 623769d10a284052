import { spawn, type ChildProcess } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { descendants, findProgram, type Browser, type BrowserTab } from "./browser.js";
import { Remote, announced } from "./remote.js";

/** Nothing asks Mozilla's hosts; each tab of a site gets a process of its own, which none was made for ahead of time. */
const PREFERENCES: Readonly<Record<string, string | number | boolean>> = {
  "app.normandy.enabled": false,
  "app.update.disabledForTesting": true,
  "browser.aboutHomeSnippets.updateUrl": "",
  "browser.newtabpage.enabled": false,
  "browser.region.network.url": "",
  "browser.safebrowsing.downloads.enabled": false,
  "browser.safebrowsing.malware.enabled": false,
  "browser.safebrowsing.phishing.enabled": false,
  "browser.search.update": false,
  "browser.shell.checkDefaultBrowser": false,
  "browser.startup.homepage": "about:blank",
  "browser.startup.page": 0,
  "browser.tabs.unloadOnLowMemory": false,
  "browser.tabs.crashReporting.sendReport": false,
  "datareporting.policy.dataSubmissionEnabled": false,
  "dom.ipc.processCount.webIsolated": 16,
  "dom.ipc.processPrelaunch.enabled": false,
  "dom.ipc.reportProcessHangs": false,
  "dom.push.connection.enabled": false,
  "extensions.getAddons.cache.enabled": false,
  "extensions.update.enabled": false,
  "media.gmp-manager.updateEnabled": false,
  "network.captive-portal-service.enabled": false,
  "network.connectivity-service.enabled": false,
  "network.dns.disablePrefetch": true,
  "network.http.speculative-parallel-limit": 0,
  "services.settings.server": "data:,",
  "toolkit.telemetry.server": "",
};

const USER_JS = Object.entries(PREFERENCES).map(([name, value]) => `user_pref(${JSON.stringify(name)}, ${JSON.stringify(value)});\n`).join("");

/** What Firefox calls the processes of a site's pages. */
const CONTENT = /^Isolated Web Co/;

/** Firefox, driven over WebDriver BiDi. */
export class Firefox implements Browser {
  readonly name = "Firefox";

  private constructor(
    readonly child: ChildProcess,
    readonly remote: Remote,
    readonly profile: string,
  ) {}

  static async launch(): Promise<Firefox> {
    const program = findProgram("FIREFOX", "firefox-esr");
    const profile = mkdtempSync(join(tmpdir(), "im-firefox-"));
    writeFileSync(join(profile, "user.js"), USER_JS);
    const child = spawn(program, ["--headless", "--no-remote", "--profile", profile, "--remote-debugging-port", "0"], {
      stdio: ["ignore", "ignore", "pipe"],
      env: { ...process.env, HOME: profile, MOZ_CRASHREPORTER_DISABLE: "1" },
    });
    process.once("exit", () => child.kill("SIGKILL"));
    const url = await announced(child, /WebDriver BiDi listening on (ws:\S+)/);
    const remote = await Remote.connect(`${url}/session`);
    await remote.call("session.new", { capabilities: {} });
    return new Firefox(child, remote, profile);
  }

  async open(url: string): Promise<BrowserTab> {
    const before = new Set(this.#contents());
    const { context } = await this.remote.call<{ context: string }>("browsingContext.create", { type: "tab" });
    await this.remote.call("browsingContext.navigate", { context, url, wait: "complete" });
    const pids = this.#contents().filter((pid) => !before.has(pid));
    return new FirefoxTab(this.remote, context, pids);
  }

  async close(): Promise<void> {
    const gone = new Promise((resolve) => this.child.once("exit", resolve));
    // Asked to end, it would wait a minute for tabs that were killed.
    this.child.kill("SIGKILL");
    await gone;
    this.remote.close();
    rmSync(this.profile, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 });
  }

  #contents(): number[] {
    return descendants(this.child.pid as number).filter(({ name }) => CONTENT.test(name)).map(({ pid }) => pid);
  }
}

type Evaluated =
  | { readonly type: "success"; readonly result: { readonly value?: string } }
  | { readonly type: "exception"; readonly exceptionDetails: { readonly text: string } };

class FirefoxTab implements BrowserTab {
  constructor(
    readonly remote: Remote,
    readonly context: string,
    readonly pids: readonly number[],
  ) {}

  async evaluate<T>(expression: string): Promise<T> {
    const wrapped = `(async () => JSON.stringify(await (${expression})) ?? "null")()`;
    const evaluated = await this.#call<Evaluated>("script.evaluate", { expression: wrapped, target: { context: this.context }, awaitPromise: true });
    if (evaluated.type === "exception") throw new Error(`${expression}: ${evaluated.exceptionDetails.text}`);
    return JSON.parse(evaluated.result.value ?? "null") as T;
  }

  async reload(): Promise<void> {
    await this.#call("browsingContext.reload", { context: this.context, wait: "complete" });
  }

  async close(): Promise<void> {
    await this.#call("browsingContext.close", { context: this.context });
  }

  kill(): Promise<void> {
    return this.#signal("SIGKILL");
  }

  freeze(): Promise<void> {
    return this.#signal("SIGSTOP");
  }

  thaw(): Promise<void> {
    return this.#signal("SIGCONT");
  }

  async screenshot(): Promise<Buffer> {
    const { data } = await this.#call<{ data: string }>("browsingContext.captureScreenshot", { context: this.context });
    return Buffer.from(data, "base64");
  }

  #call<T>(method: string, params: object): Promise<T> {
    return this.remote.call<T>(method, params);
  }

  #signal(signal: NodeJS.Signals): Promise<void> {
    const [pid, ...others] = this.pids;
    if (pid === undefined || others.length > 0) return Promise.reject(new Error(`the tab has not one process of its own, but ${this.pids.length}`));
    process.kill(pid, signal);
    return Promise.resolve();
  }
}
