import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { create, type Init } from "../src/codec.js";
import { ConversationList } from "../src/conversations.js";
import type { Content, Conversations, ConversationState } from "../src/proto.js";
import type { ClientEvent, Client } from "../src/index.js";
import { Recorder, TestServer } from "./server.js";
import { seeded } from "./world.js";

const message = (seq: number, init: Init<Content>, from = "bob", id = seq * 10): ClientEvent => ({
  type: "message",
  message: { id: BigInt(id), from, to: from === "me" ? "bob" : "me", content: create("Content", init), seq, position: { log: "", seq, id: BigInt(id) } },
});
const text = (said: string): Init<Content> => ({ text: { text: said } });
const changed = (init: Init<ConversationState>): ClientEvent => ({ type: "conversations_changed", states: [create("ConversationState", init)] });
const page = (init: Init<Conversations>): Conversations => create("Conversations", init);

/** A list that is loaded and empty. */
function empty(): ConversationList {
  const list = new ConversationList("me");
  assert.ok(list.needsLoading);
  list.beginLoading();
  list.load(page({}));
  assert.ok(!list.needsLoading);
  return list;
}

test("messages of others are unread until they are read; own ones, notices and silent ones are not", () => {
  const list = empty();
  for (const event of [message(1, text("a")), message(2, text("b"), "me"), message(3, { notice: { kind: "n" } }), message(4, { ...text("c"), silent: true }), message(5, { ...text("d"), mentions: { users: ["me"] } })]) list.apply(event);
  const [one] = list.conversations();
  assert.deepEqual([one?.unread, one?.mentions, one?.last?.content.text?.text], [2, 1, "d"]);
  assert.deepEqual(list.unread(), { count: 2, more: false });
  list.apply(changed({ user: "bob", version: 1, read: 1 }));
  assert.deepEqual(list.unread(), { count: 1, more: false });
  list.apply(changed({ user: "bob", version: 2, read: 5 }));
  assert.deepEqual(list.unread(), { count: 0, more: false });
  list.apply(changed({ user: "bob", version: 1, read: 0 }));
  assert.deepEqual(list.unread(), { count: 0, more: false }, "an older state means nothing");
});

test("muted, hidden, deleted and pinned conversations are where they belong", () => {
  const list = empty();
  list.apply(message(1, text("a"), "bob"));
  list.apply(message(2, text("b"), "carol"));
  const names = (): (string | undefined)[] => list.conversations().map(({ conversation }) => conversation.user);
  assert.deepEqual(names(), ["carol", "bob"]);
  list.apply(changed({ user: "bob", version: 1, pinned: true, muted: true, mutedUntilMs: 1000 }));
  assert.deepEqual(names(), ["bob", "carol"]);
  assert.deepEqual([list.unread(999).count, list.unread(1000).count], [1, 2]);
  list.apply(changed({ user: "carol", version: 2, hidden: 2 }));
  assert.deepEqual(names(), ["bob"]);
  list.apply(message(3, text("c"), "carol"));
  assert.deepEqual(names(), ["bob", "carol"]);
  list.apply(changed({ user: "carol", version: 3, deleted: 3 }));
  assert.deepEqual([names(), list.get({ user: "carol" })?.last, list.get({ user: "carol" })?.unread], [["bob"], undefined, 0]);
});

test("a recall and an edit show in the last message and in what is unread, before and after it", () => {
  const list = empty();
  list.apply(message(1, { change: { messageId: 30n, edit: text("edited") } }, "bob", 11));
  list.apply(message(2, text("a")));
  list.apply(message(3, text("b")));
  assert.equal(list.conversations()[0]?.last?.content.text?.text, "edited");
  list.apply(message(4, { change: { messageId: 30n, recall: {} } }));
  const [one] = list.conversations();
  assert.deepEqual([one?.unread, one?.last?.content.text, one?.lastRecalled?.by], [1, undefined, "bob"]);
});

test("what came while a page was on its way is added to it, once", () => {
  const list = new ConversationList("me");
  list.apply(message(4, text("a")));
  list.apply(message(5, text("b")));
  list.apply(message(6, text("c"), "carol"));
  list.apply(message(7, { change: { messageId: 40n, recall: {} } }));
  list.beginLoading();
  const last = { seq: 4, message: { id: 40n, from: "bob", to: "me", content: text("a") } };
  list.load(page({ inboxEnd: 4, conversations: [{ state: { user: "bob" }, last, end: 4, unread: 1, unreadSeqs: [4], unreadIds: [40n] }] }));
  assert.ok(!list.needsLoading);
  assert.deepEqual(list.conversations().map(({ conversation, unread }) => [conversation.user, unread]), [["carol", 1], ["bob", 1]]);
});

test("what cannot be known asks for the list again", () => {
  const reset: ClientEvent = { type: "reset", position: { log: "", seq: 9, id: 0n }, reason: "trimmed" };
  const afterReset = empty();
  afterReset.apply(reset);
  assert.ok(afterReset.needsLoading);
  const unlisted = new ConversationList("me");
  unlisted.beginLoading();
  unlisted.load(page({ inboxEnd: 500, conversations: [{ state: { user: "bob" }, end: 500, unread: 300, unreadSeqs: [500], unreadIds: [5000n] }] }));
  unlisted.apply(changed({ user: "bob", version: 1, read: 400 }));
  assert.ok(unlisted.needsLoading, "how many are unread behind 400");
  const deleted = empty();
  deleted.apply(message(1, text("a")));
  deleted.apply(message(2, text("b")));
  deleted.apply(message(3, { change: { messageId: 20n, deleteForMe: {} } }, "me"));
  assert.ok(deleted.needsLoading, "what the last one was before");
  const channel = empty();
  channel.apply(changed({ channel: "team", version: 1, pinned: true }));
  assert.ok(channel.needsLoading);
});

let server: TestServer;
before(async () => {
  server = await TestServer.start();
});
after(() => server.stop());

test("a list that was kept from events is the same as one that the back end makes anew", async () => {
  const me = new Recorder(await server.open("me"));
  const peers = await Promise.all(["bob", "carol", "dave"].map(async (user) => new Recorder(await server.open(user))));
  const kept = new ConversationList("me");
  me.client.subscribe((event) => void kept.apply(event));
  await me.connected();
  const group = new TextEncoder().encode("add crew bob");
  await (await me.client.send({ user: "back-end" }, { custom: { kind: "cli-chat.group", data: group } })).outcome();
  await me.until(() => me.events.some((event) => event.type === "reset" && event.position.log === "crew"), "the group");
  await me.client.loadConversations(kept);
  const random = seeded(7);
  const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)] as T;
  const sent: { client: Client; to: { user: string } | { channel: string }; id: bigint }[] = [];
  for (let turn = 0; turn < 60; turn++) {
    const peer = pick(peers);
    const to = peer.client.user === "bob" && random() < 0.4 ? { channel: "crew" } : { user: "me" };
    const of = "channel" in to ? to : { user: peer.client.user };
    const what = random();
    const earlier = pick(sent);
    if (what < 0.5 || !earlier) {
      const content = { text: { text: `turn ${turn}` }, silent: random() < 0.1, ...(random() < 0.3 ? { mentions: { users: ["me"] } } : {}) };
      const { messageId } = await (await peer.client.send(to, content)).outcome();
      sent.push({ client: peer.client, to, id: messageId });
    } else if (what < 0.7) {
      const entry = [...peers, me].flatMap(({ client, messages }) => (client === earlier.client ? messages.filter(({ id }) => id === earlier.id) : []))[0];
      if (!entry) continue;
      const change = { messageId: earlier.id, seq: entry.seq, ...(random() < 0.5 ? { recall: {} } : { edit: { text: { text: `edited in turn ${turn}` } } }) };
      await (await earlier.client.send(earlier.to, { change })).outcome();
    } else if (what < 0.85) {
      const last = me.messages.filter((one) => ("channel" in of ? one.channel === of.channel : one.from === of.user && !one.channel) && !one.content.change).at(-1);
      if (last) await me.client.markRead(of, last);
    } else await me.client.mark(of, pick([{ pinned: true }, { pinned: false }, { muted: true }, { draft: `draft ${turn}` }, { mentionsOnly: true }]));
  }
  const last = await (await peers[0]!.client.send({ user: "me" }, "the end")).outcome();
  await me.until(() => me.messages.some(({ id }) => id === last.messageId), "the last message");
  const shown = (list: ConversationList): unknown[] =>
    list.conversations().map(({ conversation, state, last, lastRecalled, unread, mentions }) => ({
      conversation, read: state.read, pinned: state.pinned, muted: state.muted, draft: state.draft, unread, mentions, last: last?.id, says: last?.content.text?.text, recalled: lastRecalled?.by,
    }));
  // Marks and changes may be on their way for a moment.
  for (let tries = 0; ; tries++) {
    if (kept.needsLoading) await me.client.loadConversations(kept);
    const fresh = new ConversationList("me");
    await me.client.loadConversations(fresh);
    try {
      assert.deepEqual(shown(kept), shown(fresh));
      assert.deepEqual(kept.unread(), fresh.unread());
      break;
    } catch (error) {
      if (tries === 20) throw error;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
  assert.ok(kept.conversations().length >= 4);
  await Promise.all([me, ...peers].map(({ client }) => client.close(0)));
});
