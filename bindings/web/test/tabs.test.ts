import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { IDBFactory } from "fake-indexeddb";
import { WebSocket } from "ws";
import { IndexedDbStore, webSocket, type Client, type SocketFactory, type TabChannel, type TabsPlatform } from "../src/index.js";
import { Recorder, TestServer } from "./server.js";

let server: TestServer;
before(async () => {
  server = await TestServer.start();
});
after(() => server.stop());

interface Waiting { tab: Tab; callback: () => Promise<void>; resolve(): void; reject(error: Error): void }

/** A browser with one profile: locks and channels between simulated tabs, which can be frozen and closed. */
class Browser {
  readonly factory = new IDBFactory();
  readonly channels = new Set<{ tab: Tab; name: string; channel: TabChannel }>();
  #holder: Waiting | undefined;
  readonly #queue: Waiting[] = [];
  sockets = 0;
  most = 0;
  readonly tabs: Tab[] = [];

  constructor(readonly user: string) {}

  async open(): Promise<Tab> {
    const tab = new Tab(this);
    this.tabs.push(tab);
    const store = await IndexedDbStore.open(this.user, { factory: this.factory });
    tab.client = await server.open(this.user, { store, socket: tab.socket, tabs: tab.platform });
    tab.recorder = new Recorder(tab.client);
    return tab;
  }

  async close(): Promise<void> {
    for (const tab of this.tabs) tab.thaw();
    await Promise.all(this.tabs.map(({ client }) => client.close(0)));
  }

  request(tab: Tab, options: { signal?: AbortSignal; steal?: boolean }, callback: () => Promise<void>): Promise<void> {
    return new Promise((resolve, reject) => {
      const waiting = { tab, callback, resolve, reject };
      if (options.steal) {
        const stolen = this.#holder;
        stolen?.tab.later(() => stolen.reject(new DOMException("the lock was stolen", "AbortError")));
        this.#grant(waiting);
        return;
      }
      this.#queue.push(waiting);
      options.signal?.addEventListener("abort", () => {
        const index = this.#queue.indexOf(waiting);
        if (index >= 0) this.#queue.splice(index, 1);
        reject(new DOMException("the request was aborted", "AbortError"));
      });
      this.#next();
    });
  }

  #next(): void {
    const next = this.#holder ? undefined : this.#queue.shift();
    if (next) this.#grant(next);
  }

  #grant(waiting: Waiting): void {
    this.#holder = waiting;
    void Promise.resolve().then(waiting.callback).then(waiting.resolve, waiting.reject).finally(() => {
      if (this.#holder !== waiting) return;
      this.#holder = undefined;
      this.#next();
    });
  }

  /** A tab is gone, as when its process is killed: its lock is free. */
  release(tab: Tab): void {
    if (this.#holder?.tab === tab) {
      this.#holder = undefined;
      this.#next();
    }
  }
}

class Tab {
  client!: Client;
  recorder!: Recorder;
  #frozen: (() => void)[] | undefined;
  #gone = false;
  readonly #open = new Set<WebSocket>();

  constructor(readonly browser: Browser) {}

  /** Runs something in this tab, unless it is gone, and later while it is frozen. */
  later(what: () => void): void {
    if (this.#gone) return;
    if (this.#frozen) this.#frozen.push(what);
    else what();
  }

  freeze(): void {
    this.#frozen = [];
  }

  thaw(): void {
    const waiting = this.#frozen ?? [];
    this.#frozen = undefined;
    for (const what of waiting) what();
  }

  kill(): void {
    this.#gone = true;
    for (const socket of this.#open) socket.terminate();
    this.browser.release(this);
  }

  get platform(): TabsPlatform {
    return {
      locks: { request: (_, options, callback) => this.browser.request(this, options, callback) },
      channel: (name) => {
        const channel: TabChannel = {
          onmessage: null,
          postMessage: (message) =>
            this.later(() => {
              const copy = structuredClone(message);
              for (const other of this.browser.channels) {
                if (other.channel !== channel && other.name === name) other.tab.later(() => setImmediate(() => other.channel.onmessage?.({ data: copy })));
              }
            }),
          close: () => this.browser.channels.delete(entry),
        };
        const entry = { tab: this, name, channel };
        this.browser.channels.add(entry);
        return channel;
      },
    };
  }

  get socket(): SocketFactory {
    return (url, protocol, handlers) => {
      const { browser } = this;
      const open = this.#open;
      class Counted extends WebSocket {
        constructor(address: string, protocols: string[]) {
          super(address, protocols);
          open.add(this);
          this.on("open", () => (browser.most = Math.max(browser.most, ++browser.sockets)));
          let counted = true;
          this.on("close", () => {
            if (counted && this.readyState === WebSocket.CLOSED) browser.sockets--;
            counted = false;
            open.delete(this);
          });
        }
      }
      return webSocket(Counted as never)(url, protocol, {
        open: () => this.later(() => handlers.open()),
        message: (bytes) => this.later(() => handlers.message(bytes)),
        close: (code, reason) => this.later(() => handlers.close(code, reason)),
      });
    };
  }
}

async function peer(user: string): Promise<Recorder> {
  const recorder = new Recorder(await server.open(user));
  await recorder.connected();
  return recorder;
}

/** Fails unless a tab has every text once and in order, or was told of a reset. */
function assertOrder(tab: Tab, expected: string[]): void {
  const said = tab.recorder.texts.filter((text) => expected.includes(text));
  assert.deepEqual(said, expected);
}

test("two tabs share one connection: both receive, send and ask", async () => {
  const browser = new Browser("uma");
  const [one, other] = [await browser.open(), await browser.open()];
  const victor = await peer("victor");
  await one.recorder.until(() => one.client.state === "connected", "the connection");
  await other.recorder.until(() => other.client.state === "connected" || one.recorder.count("connected") > 0, "the connection");
  const sent = await Promise.all([one, other].map((tab, index) => tab.client.send({ user: "victor" }, `from tab ${index}`)));
  await Promise.all(sent.map((message) => message.outcome()));
  await victor.until(() => victor.texts.length === 2, "both messages");
  await (await victor.client.send({ user: "uma" }, "answer")).outcome();
  for (const tab of [one, other]) {
    await tab.recorder.until(() => tab.recorder.texts.includes("answer"), "the answer");
    assert.equal(tab.recorder.texts.length, 3);
    assert.equal((await tab.client.history({ user: "victor" })).messages.length, 3);
    await tab.client.mark({ user: "victor" }, { draft: `draft` });
  }
  assert.equal(browser.most, 1);
  const refused = await other.client.send({ channel: "nowhere" }, "refused");
  await assert.rejects(refused.outcome(), { code: "refused" });
  assert.deepEqual((await other.client.queued()).map(({ state, error }) => [state, error?.code]), [["failed", "refused"]]);
  await browser.close();
  await victor.client.close();
});

test("when the leader is closed or killed the next tab goes on: nothing is lost, doubled or shuffled", async () => {
  const browser = new Browser("wanda");
  const tabs = [await browser.open(), await browser.open(), await browser.open()] as const;
  const xavier = await peer("xavier");
  await tabs[0].recorder.connected();
  const texts: string[] = [];
  const say = async (text: string): Promise<void> => {
    texts.push(text);
    await (await xavier.client.send({ user: "wanda" }, text)).outcome();
  };
  await say("a1");
  await tabs[2].recorder.until(() => tabs[2].recorder.texts.includes("a1"), "the first");
  const closing = tabs[0].client.close(500);
  await say("a2");
  const inFlight = await tabs[1].client.send({ user: "xavier" }, "sent while the leader closes");
  await closing;
  await inFlight.outcome();
  await say("a3");
  await tabs[2].recorder.until(() => tabs[2].recorder.texts.includes("a3"), "the third");
  tabs[1].kill();
  const last = await tabs[2].client.send({ user: "xavier" }, "sent when the leader is gone");
  await say("a4");
  await last.outcome();
  await tabs[2].recorder.until(() => tabs[2].recorder.texts.includes("a4"), "the fourth");
  assertOrder(tabs[2], texts);
  assert.deepEqual(xavier.texts.filter((text) => text.startsWith("sent")), ["sent while the leader closes", "sent when the leader is gone"]);
  assert.ok(!tabs[2].recorder.events.some(({ type }) => type === "stopped"));
  await browser.close();
  await xavier.client.close();
});

test("a tab disconnects all tabs, and the next leader stays away until a tab connects", async () => {
  const browser = new Browser("wendy");
  const tabs = [await browser.open(), await browser.open(), await browser.open()] as const;
  await tabs[0].recorder.connected();
  await tabs[1].recorder.until(() => tabs[1].client.state === "connected", "the connection");
  tabs[1].client.disconnect();
  for (const tab of tabs) await tab.recorder.until(() => tab.client.state === "disconnected", "the end of the connection");
  await tabs[0].client.close(500);
  const sent = await tabs[2].client.send({ user: "xerxes" }, "later");
  assert.deepEqual((await tabs[2].client.queued()).map(({ state }) => state), ["pending"], "the next leader answers");
  assert.deepEqual([tabs[1].client.state, tabs[2].client.state], ["disconnected", "disconnected"]);
  tabs[2].client.connect();
  await sent.outcome();
  assert.equal(tabs[1].client.state, "connected");
  await browser.close();
});

test("a leader that is frozen loses the connection, and follows when it is back", async () => {
  const browser = new Browser("yuri");
  const [frozen, other] = [await browser.open(), await browser.open()];
  const zoe = await peer("zoe");
  await frozen.recorder.connected();
  await (await zoe.client.send({ user: "yuri" }, "b1")).outcome();
  await other.recorder.until(() => other.recorder.texts.includes("b1"), "the first");
  frozen.freeze();
  const sent = await other.client.send({ user: "zoe" }, "sent while the leader sleeps");
  await (await zoe.client.send({ user: "yuri" }, "b2")).outcome();
  await sent.outcome();
  await other.recorder.until(() => other.recorder.texts.includes("b2"), "the second");
  frozen.thaw();
  await (await zoe.client.send({ user: "yuri" }, "b3")).outcome();
  for (const tab of [frozen, other]) await tab.recorder.until(() => tab.recorder.texts.includes("b3"), "the third");
  assertOrder(other, ["b1", "b2", "b3"]);
  // What the frozen tab saw twice, from its own socket and from the other tab, it was given once.
  assertOrder(frozen, ["b1", "b2", "b3"]);
  assert.ok(!frozen.recorder.events.some(({ type }) => type === "stopped"), "it follows");
  const again = await frozen.client.send({ user: "zoe" }, "sent as a follower");
  await again.outcome();
  assert.deepEqual(zoe.texts.filter((text) => text.startsWith("sent")), ["sent while the leader sleeps", "sent as a follower"]);
  await browser.close();
  await zoe.client.close();
});

test("what two tabs send offline leaves once, in order, also when the leader dies meanwhile", async () => {
  const browser = new Browser("adam");
  const [one, other] = [await browser.open(), await browser.open()];
  const eve = await peer("eve");
  await one.recorder.connected();
  await server.kill("SIGKILL");
  await other.recorder.until(() => other.recorder.count("disconnected") > 0, "the loss");
  const texts: string[] = [];
  const outcomes: Promise<unknown>[] = [];
  for (let index = 0; index < 10; index++) {
    const tab = index % 2 === 0 ? one : other;
    texts.push(`c${index}`);
    const sent = await tab.client.send({ user: "eve" }, `c${index}`);
    if (tab === other) outcomes.push(sent.outcome());
  }
  one.kill();
  await server.start();
  await sleep(50);
  other.client.wake();
  eve.client.wake();
  await Promise.all(outcomes);
  await eve.until(() => eve.texts.length >= 10, "all messages", 40_000);
  assert.deepEqual(eve.texts, texts);
  await browser.close();
  await eve.client.close();
});

test("a store that stays away: the tab goes on in memory, says so, and misses nothing", async () => {
  const factory = new IDBFactory();
  const opened: IDBDatabase[] = [];
  const open = factory.open.bind(factory);
  factory.open = (...given) => {
    const request = open(...given);
    request.addEventListener("success", () => opened.push(request.result));
    return request;
  };
  const gina = new Recorder(await server.open("gina", { store: await IndexedDbStore.open("gina", { factory }), tabs: false }));
  const hugo = await peer("hugo");
  await gina.connected();
  await (await hugo.client.send({ user: "gina" }, "d1")).outcome();
  await gina.until(() => gina.texts.includes("d1"), "the first");
  const device = gina.client.device.id;
  assert.ok(gina.client.isPersistent);
  factory.open = () => {
    throw new DOMException("Connection to Indexed Database server lost", "UnknownError");
  };
  for (const database of opened) database.close();
  const sent = await gina.client.send({ user: "hugo" }, "from memory");
  assert.ok(!gina.client.isPersistent);
  assert.equal(gina.count("store_lost"), 1);
  assert.notEqual(gina.client.device.id, device, "its numbers begin anew, so it is another device");
  await sent.outcome();
  await (await hugo.client.send({ user: "gina" }, "d2")).outcome();
  await gina.until(() => gina.texts.includes("d2"), "the second");
  assert.deepEqual(gina.texts, ["d1", "from memory", "d2"]);
  assert.equal(gina.events.filter((event) => event.type === "reset" && event.reason !== "new").length, 0);
  assert.deepEqual(hugo.texts.filter((text) => text === "from memory").length, 1);
  await gina.client.close();
  await hugo.client.close();
});

test("without locks the last tab has the store, and the one before goes on as a device of its own", async () => {
  const factory = new IDBFactory();
  const tab = async (): Promise<Recorder> => new Recorder(await server.open("iris", { store: await IndexedDbStore.open("iris", { factory }), tabs: false }));
  const jack = await peer("jack");
  const first = await tab();
  await first.connected();
  await (await jack.client.send({ user: "iris" }, "e1")).outcome();
  await first.until(() => first.texts.includes("e1"), "the first");
  const last = await tab();
  await last.connected();
  const sent = [await first.client.send({ user: "jack" }, "from the first"), await last.client.send({ user: "jack" }, "from the last")];
  await Promise.all(sent.map((message) => message.outcome()));
  await (await jack.client.send({ user: "iris" }, "e2")).outcome();
  for (const one of [first, last]) {
    await one.until(() => one.texts.includes("e2"), "the second");
    assert.equal(new Set(one.texts).size, one.texts.length, "nothing comes twice");
    assert.equal(one.count("stopped"), 0);
  }
  assert.deepEqual([first.client.isPersistent, last.client.isPersistent], [false, true]);
  assert.notEqual(first.client.device.id, last.client.device.id);
  assert.deepEqual(jack.texts.filter((text) => text.startsWith("from")).sort(), ["from the first", "from the last"]);
  for (const one of [first, last, jack]) await one.client.close();
});
