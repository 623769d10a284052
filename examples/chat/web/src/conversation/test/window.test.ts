import assert from "node:assert/strict";
import { test } from "node:test";
import type { Client, ClientEvent, Content, HistoryPage, HistoryQuery, QueuedMessage, ReceivedMessage } from "@im-sdk/client";
import { MessageWindow } from "../window/MessageWindow";
import { rowsOf } from "../window/rows";

const says = (content: Partial<Content>): Content => ({ thread: 0n, silent: false, ...content });
const message = (seq: number, content: Partial<Content> = { text: { text: `m${seq}` } }): ReceivedMessage => ({
  id: BigInt(seq) << 22n, from: seq % 2 ? "bob" : "me", channel: "team", seq, content: says(content),
});

/** A client with a channel of `count` messages. */
class Fake {
  readonly user = "me";
  listeners = new Set<(event: ClientEvent) => void>();
  sent: QueuedMessage[] = [];
  requests = 0;
  gate: Promise<void> | undefined;
  constructor(public count: number) {}
  async history(_: unknown, { before, after, beforeId, limit = 50 }: HistoryQuery = {}): Promise<HistoryPage> {
    this.requests++;
    const count = this.count;
    await this.gate;
    const all = Array.from({ length: count }, (_, index) => message(index + 1));
    const end = beforeId !== undefined ? Number(beforeId >> 22n) : before;
    if (end === undefined && after !== undefined) {
      const messages = all.slice(after, after + limit);
      return { messages, changes: [], more: after + limit < count, next: messages.at(-1)?.seq ?? after };
    }
    const until = (end ?? count + 1) - 1;
    const messages = all.slice(Math.max(0, until - limit), until);
    return { messages, changes: [], more: until > limit, next: messages[0]?.seq ?? 0 };
  }
  queued = async (): Promise<QueuedMessage[]> => this.sent;
  subscribe = (listener: (event: ClientEvent) => void): (() => void) => {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  };
  say(content?: Partial<Content>, seq = ++this.count): void {
    for (const listener of this.listeners) listener({ type: "message", message: message(seq, content) });
  }
}

const open = (fake: Fake, first?: { seq: number }): MessageWindow => {
  const window = new MessageWindow(fake as unknown as Client, { channel: "team" }, first);
  window.subscribe(() => {});
  return window;
};
const settled = async (window: MessageWindow): Promise<void> => {
  do await new Promise((resolve) => setImmediate(resolve));
  while (window.getSnapshot().loading.size > 0);
};
const seqs = (window: MessageWindow): number[] => window.getSnapshot().messages.map(({ seq }) => seq);
const isWhole = (given: number[]): boolean => given.every((seq, index) => index === 0 || seq === (given[index - 1] ?? 0) + 1);

test("a window begins at the end, and grows by pages and by what comes", async () => {
  const fake = new Fake(120);
  const window = open(fake);
  await settled(window);
  assert.deepEqual([seqs(window)[0], seqs(window).at(-1)], [71, 120]);
  fake.say();
  await window.loadOlder();
  await window.loadOlder();
  assert.deepEqual(seqs(window), Array.from({ length: 121 }, (_, index) => index + 1));
  assert.equal(window.getSnapshot().hasOlder, false);
});

test("a jump of 10,000 takes two requests, and the window goes on from there in both directions", async () => {
  const fake = new Fake(20_000);
  const window = open(fake);
  await settled(window);
  fake.requests = 0;
  assert.equal((await window.jump({ seq: 10_000 }))?.seq, 10_000);
  assert.equal(fake.requests, 2);
  fake.say();
  assert.ok(!seqs(window).includes(20_001), "it lies beyond a gap");
  await window.loadNewer();
  await window.loadOlder();
  assert.ok(isWhole(seqs(window)) && window.getSnapshot().hasNewer);
  assert.equal((await window.jump({ id: 15_000n << 22n }))?.seq, 15_000);
  await window.toNewest();
  assert.equal(seqs(window).at(-1), 20_001);
});

test("rows far away are forgotten, and come back", async () => {
  const fake = new Fake(50_000);
  const window = open(fake);
  await settled(window);
  for (let page = 0; page < 40; page++) await window.loadOlder();
  assert.ok(seqs(window).length <= 600 && isWhole(seqs(window)) && window.getSnapshot().hasNewer);
  const first = seqs(window)[0] ?? 0;
  while (window.getSnapshot().hasNewer) await window.loadNewer();
  assert.ok(seqs(window).length <= 600 && seqs(window).at(-1) === 50_000);
  while ((seqs(window)[0] ?? 0) > first) await window.loadOlder();
  assert.ok(isWhole(seqs(window)));
});

test("what comes while a page is under way is neither lost nor doubled", async () => {
  const fake = new Fake(60);
  let release = (): void => {};
  fake.gate = new Promise((resolve) => (release = resolve));
  const window = open(fake);
  await new Promise((resolve) => setImmediate(resolve));
  fake.say();
  fake.say({ change: { messageId: 60n << 22n, seq: 0, channel: "", between: [], order: 1n, reaction: { emoji: "👍", removed: false } } }, 62);
  release();
  await settled(window);
  assert.deepEqual(seqs(window).slice(-2), [60, 61]);
  assert.equal(window.getSnapshot().messages.at(-2)?.reactions[0]?.emoji, "👍");
});

test("changes survive that rows are forgotten", async () => {
  const fake = new Fake(2000);
  const window = open(fake);
  await settled(window);
  fake.say({ change: { messageId: 2000n << 22n, seq: 0, channel: "", between: [], order: 1n, edit: says({ text: { text: "edited" } }) } }, 2001);
  fake.count = 2001;
  for (let count = 0; count < 700; count++) fake.say();
  assert.ok(seqs(window).length <= 650);
  for (let count = 0; count < 14; count++) await window.loadOlder();
  assert.ok(isWhole(seqs(window).filter((seq) => seq > 2001)));
});

test("a queued change shows at once, and a message keeps its key when it comes back", async () => {
  const fake = new Fake(2);
  const window = open(fake);
  await settled(window);
  const change = { messageId: 1n << 22n, seq: 1, channel: "", between: [], order: 0n, reaction: { emoji: "🎉", removed: false } };
  fake.sent = [
    { localId: 7, to: { channel: "team" }, content: says({ text: { text: "m3" } }), state: "pending" },
    { localId: 8, to: { channel: "team" }, content: says({ change }), state: "pending" },
  ];
  await window.refresh();
  const { messages, pending } = window.getSnapshot();
  assert.deepEqual(messages[0]?.reactions, [{ emoji: "🎉", users: ["me"] }]);
  const keys = (): string[] => rowsOf({ ...window.getSnapshot(), newFrom: undefined, me: "me" }).map(({ key }) => key);
  assert.equal(pending.length, 1);
  assert.equal(keys().at(-1), "l7");
  for (const listener of fake.listeners) listener({ type: "message", message: { ...message(3), localId: 7 } });
  assert.equal(keys().at(-1), "l7");
  assert.equal(keys().filter((key) => key === "l7").length, 1);
});

test("a failed load is repeated with the next connection", async () => {
  const fake = new Fake(10);
  fake.gate = Promise.reject(new Error("away"));
  const window = open(fake);
  await settled(window);
  assert.equal(window.getSnapshot().error?.message, "away");
  fake.gate = undefined;
  for (const listener of fake.listeners) listener({ type: "connected", user: "me", endpoint: "" });
  await settled(window);
  assert.equal(seqs(window).length, 10);
});
