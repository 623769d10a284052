import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import { ImError, type ClientEvent, type Content, type Listener, type ReceivedMessage } from "@im-sdk/client";
import { LikeSender, likesIn } from "../../src/room/likes";
import { RoomLog } from "../../src/room/RoomLog";
import { RoomStore } from "../../src/room/RoomStore";

const content = (given: Partial<Content>): Content => ({ thread: 0n, silent: false, ...given }) as Content;
const said = (id: number, text: string, more: Partial<ReceivedMessage> = {}): ReceivedMessage => ({
  id: BigInt(id),
  from: "bob",
  channel: "stage",
  content: content({ text: { text } }),
  seq: 0,
  ...more,
});
const liked = (id: number, data: string): ReceivedMessage => said(id, "", { from: undefined, content: content({ custom: { kind: "like", data: new TextEncoder().encode(data) } }) });

/** Frames that are drawn when the test says so. */
class Frames {
  #waiting: (() => void)[] = [];

  constructor() {
    Object.assign(globalThis, {
      requestAnimationFrame: (draw: () => void) => this.#waiting.push(draw),
      cancelAnimationFrame: () => (this.#waiting = []),
      document: { hidden: false },
    });
  }

  get count(): number {
    return this.#waiting.length;
  }

  draw(): void {
    for (const draw of this.#waiting.splice(0)) draw();
  }
}

class FakeClient {
  readonly user = "me";
  readonly joined: string[] = [];
  readonly left: string[] = [];
  readonly discarded: number[] = [];
  joins: () => Promise<{ online: number; answer: Uint8Array; recent: ReceivedMessage[] }> = async () => ({ online: 7, answer: new Uint8Array(0), recent: [] });
  outcome: Promise<never> | Promise<{ messageId: bigint; answer: Uint8Array }> = new Promise(() => {});
  listener: Listener | undefined;

  tell(event: ClientEvent): void {
    void this.listener?.(event);
  }

  hear(message: ReceivedMessage): void {
    this.tell({ type: "message", message });
  }

  subscribe = (listener: Listener): (() => void) => {
    this.listener = listener;
    return () => (this.listener = undefined);
  };
  joinRoom = (room: string) => (this.joined.push(room), this.joins());
  leaveRoom = async (room: string): Promise<void> => void this.left.push(room);
  send = async () => ({ localId: 1, to: { channel: "stage" }, outcome: () => this.outcome, discard: async () => true });
  retry = async () => undefined;
  discard = async (localId: number): Promise<boolean> => (this.discarded.push(localId), true);
}

const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** Subscribes to a room until the end of the test. */
async function joined(t: TestContext, client = new FakeClient()): Promise<{ client: FakeClient; store: RoomStore; hearts: number[]; leave: () => void }> {
  const hearts: number[] = [];
  const store = new RoomStore(client, "stage", (count) => hearts.push(count));
  const leave = store.subscribe(() => {});
  t.after(async () => {
    leave();
    await settled();
  });
  await settled();
  return { client, store, hearts, leave };
}

test("of thousands of messages the newest 200 are kept, each once", () => {
  const log = new RoomLog();
  for (let id = 1; id <= 5000; id++) log.add(said(id, `${id}`), "me", id);
  assert.equal(log.messages.length, 200);
  assert.deepEqual([log.messages[0]?.text, log.messages[199]?.text], ["4801", "5000"]);
  assert.equal(log.add(said(5000, "again"), "me", 0), false);
});

test("a reader who has scrolled back keeps what is shown, and learns how much is new", () => {
  const log = new RoomLog();
  for (let id = 1; id <= 300; id++) log.add(said(id, `${id}`), "me", 0);
  log.pause(true);
  const before = log.messages;
  for (let id = 301; id <= 1000; id++) log.add(said(id, `${id}`), "me", 0);
  assert.equal(log.messages, before);
  assert.equal(log.new, 700);
  log.pause(false);
  assert.deepEqual([log.messages.at(-1)?.text, log.new], ["1000", 0]);
});

test("what comes too fast is not read out", () => {
  const log = new RoomLog();
  for (let id = 1; id <= 5; id++) log.add(said(id, "hi"), "me", 1000);
  assert.ok(log.isBusy(1001));
  assert.ok(!log.isBusy(10_000));
});

test("changes and other kinds of messages are not shown", () => {
  const log = new RoomLog();
  assert.equal(log.add(liked(1, "3"), "me", 0), false);
  assert.equal(log.add(said(2, ""), "me", 0), false);
  assert.equal(log.messages.length, 0);
});

test("sums of likes are read safely", () => {
  assert.deepEqual(["3", "0", "-2", "1e99", "x", ""].map((data) => likesIn(liked(1, data).content)), [3, 0, 0, 0, 0, 0]);
  assert.equal(likesIn(said(1, "3").content), 0);
});

test("likes are sent together, at most 50 at once", (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const posted: number[] = [];
  const sender = new LikeSender(async (count) => posted.push(count));
  for (let count = 0; count < 80; count++) sender.add();
  assert.deepEqual(posted, []);
  t.mock.timers.tick(1000);
  assert.deepEqual(posted, [50]);
  sender.add();
  sender.flush();
  t.mock.timers.tick(5000);
  assert.deepEqual(posted, [50, 1]);
});

test("a thousand messages of one frame are drawn once", async (t) => {
  const frames = new Frames();
  const { client, store } = await joined(t);
  let drawn = 0;
  t.after(store.subscribe(() => drawn++));
  for (let id = 1; id <= 1000; id++) client.hear(said(id, `${id}`));
  assert.deepEqual([frames.count, drawn], [1, 0]);
  frames.draw();
  assert.equal(drawn, 1);
  assert.equal(store.getSnapshot().messages.length, 200);
});

test("likes add up, and messages of other rooms are left out", async (t) => {
  const frames = new Frames();
  const { client, store, hearts } = await joined(t);
  client.hear(liked(1, "3"));
  client.hear(liked(2, "4"));
  client.hear(said(3, "elsewhere", { channel: "other" }));
  frames.draw();
  const { likes, messages, online } = store.getSnapshot();
  assert.deepEqual([likes, messages.length, online, hearts], [7, 0, 7, [3, 4]]);
});

test("the room is left with the last component, not with one that is mounted again at once", async (t) => {
  new Frames();
  const { client, store, leave } = await joined(t);
  leave();
  const again = store.subscribe(() => {});
  await settled();
  assert.deepEqual([client.joined, client.left], [["stage"], []]);
  again();
  await settled();
  assert.deepEqual(client.left, ["stage"]);
});

test("after a reconnect it joins again, unless the device was thrown out", async (t) => {
  new Frames();
  const { client, store } = await joined(t);
  client.tell({ type: "connected", user: "me", endpoint: "" });
  await settled();
  assert.equal(client.joined.length, 2);
  client.tell({ type: "room_left", channel: "stage", cause: "kicked", reason: "not kind" });
  client.tell({ type: "connected", user: "me", endpoint: "" });
  await settled();
  assert.equal(client.joined.length, 2);
  assert.deepEqual(store.getSnapshot().status, { name: "left", cause: "kicked", reason: "not kind" });
  await store.join();
  assert.equal(store.getSnapshot().status.name, "in");
});

test("who is not let in is told why", async (t) => {
  new Frames();
  const client = new FakeClient();
  client.joins = async () => {
    throw new ImError("refused", "no ticket", { kind: 1, reason: "no ticket", code: 5, retryAfterMs: 0 });
  };
  const { store } = await joined(t, client);
  assert.deepEqual(store.getSnapshot().status, { name: "left", cause: "refused", reason: "no ticket" });
});

test("an own message is pending until it comes back, and a refused one stays with its reason until one leaves", async (t) => {
  const frames = new Frames();
  const { client, store, leave } = await joined(t);
  void store.send("hello");
  await settled();
  assert.equal(store.getSnapshot().pending.length, 1);
  client.hear(said(9, "hello", { from: "me", localId: 1 }));
  frames.draw();
  assert.deepEqual([store.getSnapshot().pending.length, store.getSnapshot().messages[0]?.isOwn], [0, true]);

  const refusal = new ImError("refused", "muted", { kind: 1, reason: "muted", code: 3, retryAfterMs: 0 });
  client.outcome = Promise.reject(refusal);
  await store.send("again");
  assert.equal(store.getSnapshot().pending[0]?.error, refusal);
  leave();
  await settled();
  assert.deepEqual(client.discarded, [1]);
});
