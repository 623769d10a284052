/** Scenarios with real tabs of a real browser, against a real server with a real back end. */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import type { ClientOptions } from "../../src/index.js";
import { assertLogs, assertStreams, type Entry, type Stream } from "../checker.js";
import { Recorder, TestServer } from "../server.js";
import type { Browser, BrowserTab } from "./browser.js";
import { Site } from "./site.js";

/** A tab with the client in it. */
class Tab {
  private constructor(
    readonly tab: BrowserTab,
    readonly user: string,
    readonly url: string,
  ) {}

  static async open(browser: Browser, site: Site, server: TestServer, user: string, options: Partial<ClientOptions> = {}): Promise<Tab> {
    const tab = new Tab(await browser.open(site.url), user, server.url);
    await tab.start(options);
    return tab;
  }

  start(options: Partial<ClientOptions> = {}): Promise<void> {
    return this.tab.evaluate(`im.open(${JSON.stringify(this.user)}, ${JSON.stringify(this.url)}, ${JSON.stringify(options)})`);
  }

  /** Waits until an expression holds in the page. */
  until(expression: string, ms = 30_000): Promise<void> {
    return this.tab.evaluate(`im.until(() => ${expression}, ${JSON.stringify(expression)}, ${ms})`);
  }

  connected(): Promise<void> {
    return this.until('im.client.state === "connected"');
  }

  /** Resolves when the store has all of these. */
  send(user: string, texts: readonly string[]): Promise<number[]> {
    return this.tab.evaluate(`im.send({ user: ${JSON.stringify(user)} }, ${JSON.stringify(texts)})`);
  }

  has(...texts: string[]): Promise<void> {
    return this.until(`${JSON.stringify(texts)}.every((text) => im.texts().includes(text))`);
  }

  /** Resolves when all that this tab sent was taken by the back end. */
  settled(): Promise<number> {
    return this.tab.evaluate("im.settled()");
  }

  entries(): Promise<Entry[]> {
    return this.tab.evaluate("im.entries");
  }

  /** Checks that every log came in order and once, and these streams with nothing lost. */
  async check(streams: readonly Stream[]): Promise<void> {
    const entries = await this.entries();
    assertLogs(this.user, entries);
    assertStreams(this.user, entries.flatMap((entry) => (entry.type === "message" ? [entry.text] : [])), streams);
    const resets = entries.filter((entry) => entry.type === "reset" && entry.reason !== "new");
    assert.deepEqual(resets, [], "nothing was missed");
    assert.ok(!(await this.tab.evaluate<string[]>("im.types")).includes("stopped"));
  }
}

const texts = (name: string, from: number, to: number): string[] => Array.from({ length: to - from }, (_, index) => `${name}${from + index}`);

/** Runs all scenarios in a browser. */
export function runScenarios(name: string, launch: () => Promise<Browser>): void {
  describe(name, () => {
    let server: TestServer;
    let site: Site;
    let browser: Browser;
    const peers: Recorder[] = [];

    before(async () => {
      server = await TestServer.start();
      site = await Site.start((user) => server.token(user));
      browser = await launch();
    });
    after(async () => {
      await Promise.all(peers.map(({ client }) => client.close(0)));
      await browser?.close();
      await site?.stop();
      await server?.stop();
    });

    const open = (user: string, options?: Partial<ClientOptions>): Promise<Tab> => Tab.open(browser, site, server, user, options);
    const peer = async (user: string): Promise<Recorder> => {
      const recorder = new Recorder(await server.open(user));
      peers.push(recorder);
      await recorder.connected();
      return recorder;
    };

    test("a page sends and receives, and goes on after a reload: device, places and what was not sent yet", async () => {
      const bob = await peer("bob-1");
      const tab = await open("ann");
      await tab.connected();
      await tab.send("bob-1", texts("a", 0, 3));
      await tab.settled();
      await bob.client.send({ user: "ann" }, "b0");
      await tab.has("b0", "a2");
      const device = await tab.tab.evaluate<string>("im.client.device.id");
      await server.kill("SIGKILL");
      await tab.until('im.client.state !== "connected"');
      const localIds = await tab.send("bob-1", texts("a", 3, 6));
      await tab.tab.reload();
      await tab.start();
      await server.start();
      bob.client.wake();
      await bob.client.send({ user: "ann" }, "b1");
      await tab.has("b1", "a5");
      assert.equal(await tab.tab.evaluate("im.client.device.id"), device);
      const entries = await tab.entries();
      const come = entries.flatMap((entry) => (entry.type === "message" ? [entry.text] : []));
      assert.ok(!come.includes("b0") && !come.includes("a2"), "what was dealt with before the reload does not come again");
      assert.ok(!entries.some(({ type }) => type === "reset"), "the place was kept");
      const own = entries.flatMap((entry) => (entry.type === "message" && entry.text.startsWith("a") ? [entry.localId] : []));
      assert.deepEqual(own, localIds, "what was sent before the reload is known again");
      await bob.until(() => bob.texts.includes("a5"), "the last one");
      assertStreams("bob", bob.texts, [{ name: "a", sent: 6 }]);
      await tab.tab.close();
    });

    test("three tabs share one connection; the leader is closed, the next one is killed: 0 lost, doubled or shuffled", async () => {
      const bob = await peer("bob-2");
      const tabs = [await open("cleo"), await open("cleo"), await open("cleo")] as const;
      for (const tab of tabs) await tab.connected();
      const devices = await Promise.all(tabs.map((tab) => tab.tab.evaluate("im.client.device.id")));
      assert.equal(new Set(devices).size, 1);
      // All three send at once, while messages come.
      const [closed, killed, last] = tabs;
      const streams = ["x", "y", "z"] as const;
      await Promise.all([...tabs.map((tab, index) => tab.send("bob-2", texts(streams[index] as string, 0, 20))), say(bob, "cleo", texts("b", 0, 20))]);
      for (const tab of tabs) await tab.has("b19");
      await closed.check([{ name: "b", sent: 20 }]);
      const [, ...others] = await Promise.all([closed.tab.close(), killed.send("bob-2", texts("y", 20, 40)), last.send("bob-2", texts("z", 20, 40)), say(bob, "cleo", texts("b", 20, 40))]);
      assert.equal(others.length, 3);
      await killed.has("b39");
      await killed.check([{ name: "b", sent: 40 }]);
      // Of the batch that is under way while the process is killed, nobody knows how much was taken.
      const halfway = killed.send("bob-2", texts("y", 40, 60)).catch(() => {});
      await Promise.all([killed.tab.kill(), last.send("bob-2", texts("z", 40, 60)), say(bob, "cleo", texts("b", 40, 60))]);
      await last.has("b59");
      await last.settled();
      await last.check([{ name: "b", sent: 60 }, { name: "z", sent: 60 }]);
      await bob.until(() => bob.texts.includes("z59"), "the last one", 30_000);
      assertStreams("bob", bob.texts, [{ name: "x", sent: 20 }, { name: "y", sent: 60, taken: 40 }, { name: "z", sent: 60 }]);
      void halfway;
      await last.tab.close();
    });

    test("a leader that is frozen loses the connection, and follows when it is back: 0 lost, doubled or shuffled", async () => {
      const bob = await peer("bob-3");
      const frozen = await open("dora");
      await frozen.connected();
      const other = await open("dora");
      await other.connected();
      await say(bob, "dora", texts("b", 0, 10));
      await other.has("b9");
      for (const tab of [frozen, other]) await tab.tab.evaluate('im.saved("dora")');
      await frozen.tab.freeze();
      await Promise.all([say(bob, "dora", texts("b", 10, 20)), other.send("bob-3", texts("y", 0, 20))]);
      await other.has("b19", "y19");
      await other.settled();
      await frozen.tab.thaw();
      await say(bob, "dora", texts("b", 20, 30));
      await frozen.has("b29");
      await other.has("b29");
      await Promise.all([frozen.send("bob-3", texts("x", 0, 10)), other.send("bob-3", texts("y", 20, 30))]);
      await Promise.all([frozen.settled(), other.settled()]);
      for (const tab of [frozen, other]) {
        await tab.has("x9", "y29");
        await tab.check([{ name: "b", sent: 30 }, { name: "x", sent: 10 }, { name: "y", sent: 30 }]);
      }
      await bob.until(() => bob.texts.includes("x9") && bob.texts.includes("y29"), "the last ones");
      assertStreams("bob", bob.texts, [{ name: "x", sent: 10 }, { name: "y", sent: 30 }]);
      await Promise.all([frozen.tab.close(), other.tab.close()]);
    });

    test("what two tabs send offline leaves once and in order, also when the leader is killed meanwhile", async () => {
      const bob = await peer("bob-4");
      const [leader, other] = [await open("edna"), await open("edna")];
      await leader.connected();
      await other.connected();
      await server.kill("SIGKILL");
      for (const tab of [leader, other]) await tab.until('im.client.state !== "connected"');
      await Promise.all([leader.send("bob-4", texts("x", 0, 30)), other.send("bob-4", texts("y", 0, 30))]);
      await leader.tab.kill();
      await server.start();
      bob.client.wake();
      await other.settled();
      await other.has("x29", "y29");
      await other.check([{ name: "x", sent: 30 }, { name: "y", sent: 30 }]);
      await bob.until(() => bob.texts.includes("x29") && bob.texts.includes("y29"), "the last ones");
      assertStreams("bob", bob.texts, [{ name: "x", sent: 30 }, { name: "y", sent: 30 }]);
      await other.tab.close();
    });
  });
}

async function say(peer: Recorder, user: string, all: readonly string[]): Promise<void> {
  const sent = [];
  for (const text of all) sent.push(await peer.client.send({ user }, text));
  await Promise.all(sent.map((message) => message.outcome()));
}
