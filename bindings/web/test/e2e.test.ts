import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { ImError, MemoryStore, type Client, type Conversation } from "../src/index.js";
import { Recorder, TestServer } from "./server.js";

let server: TestServer;
const clients: Client[] = [];
before(async () => {
  server = await TestServer.start();
});
after(async () => {
  await Promise.all(clients.map((client) => client.close(0)));
  await server.stop();
});

async function device(user: string, options: Parameters<TestServer["open"]>[1] = {}): Promise<Recorder> {
  const client = await server.open(user, options);
  clients.push(client);
  const recorder = new Recorder(client);
  await recorder.connected();
  return recorder;
}

/** Asks the back end to bring members into a group. */
async function addToGroup(owner: Client, group: string, members: string[]): Promise<void> {
  const data = new TextEncoder().encode(["add", group, ...members].join(" "));
  await (await owner.send({ user: "back-end" }, { custom: { kind: "cli-chat.group", data } })).outcome();
}

test("a message reaches the other user and the sender's own log, once each", async () => {
  const [alice, bob] = await Promise.all([device("alice"), device("bob")]);
  const sent = await alice.client.send({ user: "bob" }, "hello");
  const { messageId } = await sent.outcome();
  await bob.until(() => bob.texts.includes("hello"), "the message");
  await alice.until(() => alice.texts.includes("hello"), "the own message");
  const message = bob.messages.find(({ content }) => content.text?.text === "hello");
  assert.equal(message?.id, messageId);
  assert.equal(message?.from, "alice");
  assert.deepEqual(alice.messages.map(({ localId }) => localId), [sent.localId], "her own send is known again");
  assert.equal(message?.localId, undefined, "for others it is a number like any other");
  assert.equal((await alice.client.history({ user: "bob" })).messages[0]?.localId, sent.localId);
});

test("many messages come in order, and each once", async () => {
  const [carol, dave] = await Promise.all([device("carol"), device("dave")]);
  const expected = Array.from({ length: 300 }, (_, index) => `m${index}`);
  const sent = await Promise.all(expected.map((text) => carol.client.send({ user: "dave" }, text)));
  await Promise.all(sent.map((one) => one.outcome()));
  await dave.until(() => dave.texts.length >= 300, "300 messages");
  assert.deepEqual(dave.texts, expected);
});

test("a server that is killed costs nothing: what was sent meanwhile arrives, in order", async () => {
  const [erin, frank] = await Promise.all([device("erin"), device("frank")]);
  const to: Conversation = { user: "frank" };
  await (await erin.client.send(to, "one")).outcome();
  await server.kill("SIGKILL");
  await erin.until(() => erin.count("disconnected") > 0, "the loss");
  const later = await Promise.all(["two", "three"].map((text) => erin.client.send(to, text)));
  assert.deepEqual((await erin.client.queued()).map(({ state }) => state), ["pending", "pending"]);
  await server.start();
  erin.client.wake();
  frank.client.wake();
  await Promise.all(later.map((one) => one.outcome()));
  await frank.until(() => frank.texts.length >= 3, "three messages", 40_000);
  assert.deepEqual(frank.texts, ["one", "two", "three"]);
});

test("what a device missed comes from where it stood, and what it sent offline leaves with the next process", async () => {
  const store = new MemoryStore();
  const grace = await device("grace", { store });
  const heidi = await device("heidi");
  await (await heidi.client.send({ user: "grace" }, "before")).outcome();
  await grace.until(() => grace.texts.includes("before"), "the first message");
  await sleep(50);
  await grace.client.close();
  for (const text of ["missed 1", "missed 2"]) await (await heidi.client.send({ user: "grace" }, text)).outcome();
  // A process without a connection, which ends at once.
  const offline = await server.open("grace", { store, endpoints: ["ws://127.0.0.1:9"] });
  await offline.send({ user: "heidi" }, "written offline");
  await offline.close(0);
  const again = await device("grace", { store });
  await again.until(() => again.texts.length >= 3, "what was missed, and the own message");
  assert.deepEqual(again.texts.filter((text) => text.startsWith("missed")), ["missed 1", "missed 2"]);
  assert.ok(!again.texts.includes("before"), "it was dealt with");
  assert.ok(!again.events.some(({ type }) => type === "reset"), "the log leads on");
  await heidi.until(() => heidi.texts.includes("written offline"), "what was written offline");
  assert.equal(heidi.texts.filter((text) => text === "written offline").length, 1);
});

test("a group's members have one log, who joins later begins at its end, and readers are told", async () => {
  const [rosa, sam, tina] = await Promise.all([device("rosa"), device("sam"), device("tina")]);
  await addToGroup(rosa.client, "team", ["sam"]);
  const team: Conversation = { channel: "team" };
  const sent = await Promise.all(["g1", "g2", "g3"].map((text) => rosa.client.send(team, text)));
  await Promise.all(sent.map((one) => one.outcome()));
  const said = (recorder: Recorder): string[] => recorder.messages.filter(({ channel, content }) => channel === "team" && content.text).map(({ content }) => content.text?.text ?? "");
  await sam.until(() => said(sam).length >= 3, "the messages of the group");
  assert.deepEqual(said(sam), ["g1", "g2", "g3"]);
  assert.deepEqual(said(rosa), ["g1", "g2", "g3"]);
  const last = sam.messages.find(({ content }) => content.text?.text === "g3");
  assert.ok(last);
  await sam.client.markRead(team, last);
  await rosa.until(() => rosa.events.some((event) => event.type === "channel_read" && event.receipt.user === "sam" && event.receipt.seq === last.seq), "that he has read it");
  assert.deepEqual((await rosa.client.readers("team", last.seq, 10)).users, ["sam"]);
  await addToGroup(rosa.client, "team", ["tina"]);
  await tina.until(() => tina.events.some((event) => event.type === "reset" && event.position.log === "team"), "the new log");
  await (await sam.client.send(team, "g4")).outcome();
  await tina.until(() => said(tina).includes("g4"), "the next message");
  assert.deepEqual(said(sam).slice(0, 3), ["g1", "g2", "g3"]);
});

test("a room is joined, talks and counts, and is left", async () => {
  const [rick, sue] = await Promise.all([device("rick"), device("sue")]);
  const room: Conversation = { channel: "room-web" };
  const send = async (from: Recorder, content: Parameters<Client["send"]>[1]): Promise<bigint> => (await (await from.client.send(room, content)).outcome()).messageId;
  const refused = (error: unknown): boolean => error instanceof ImError && error.code === "refused";
  const { online, answer, recent } = await rick.client.joinRoom("room-web", new TextEncoder().encode("please"));
  assert.deepEqual([online, new TextDecoder().decode(answer), recent], [1, "be kind", []]);
  await assert.rejects(send(sue, "let me in"), refused, "only who is in the room may send to it");
  const question = await send(rick, "is anybody here?");
  const joined = await sue.client.joinRoom("room-web");
  assert.deepEqual([joined.online, joined.recent.map(({ id }) => id)], [2, [question]]);

  const reply = await send(sue, "I am");
  await rick.until(() => rick.texts.includes("I am"), "the answer");
  const message = rick.messages.find(({ id }) => id === reply);
  assert.deepEqual([message?.from, message?.channel, message?.position], ["sue", "room-web", undefined]);
  await Promise.all([1, 2, 3].map(() => send(sue, { custom: { kind: "cli-chat.like", data: new Uint8Array(0) } })));
  // They are summed up, as far as they come at the same time.
  const likes = (): number => {
    const sums = rick.messages.flatMap(({ content: { custom } }) => (custom?.kind === "cli-chat.like" ? [custom.data] : []));
    return sums.reduce((sum, data) => sum + Number(new TextDecoder().decode(data)), 0);
  };
  await rick.until(() => likes() >= 3, "all likes");
  assert.equal(likes(), 3);

  // A device is in the room again over the next connection, and gets what was said there.
  rick.client.disconnect();
  await rick.until(() => rick.count("disconnected") > 0, "the end of the connection");
  await send(sue, "while you were away");
  rick.client.connect();
  await rick.until(() => rick.texts.includes("while you were away"), "what was said");
  await rick.client.leaveRoom("room-web");
  await assert.rejects(send(rick, "late"), refused, "it has left");
  assert.equal((await rick.client.joinRoom("room-web")).online, 2);
  await send(sue, { custom: { kind: "cli-chat.kick", data: new TextEncoder().encode("rick") } });
  await rick.until(() => rick.count("room_left") > 0, "that it is out");
  const left = rick.events.find(({ type }) => type === "room_left");
  assert.deepEqual(left, { type: "room_left", channel: "room-web", cause: "kicked", reason: "sue has removed you" });
  await assert.rejects(send(rick, "late"), refused, "it was removed");
});

test("a room that is refused is told with the reason", async () => {
  const uwe = await device("uwe");
  await assert.rejects(uwe.client.joinRoom("cellar"), (error: unknown) => {
    assert.ok(error instanceof ImError);
    assert.deepEqual([error.code, error.refusal?.code], ["refused", 4]);
    assert.match(error.message, /cellar is no room/);
    return true;
  });
});

test("the history and the search find what was said", async () => {
  const [ivan, judy] = await Promise.all([device("ivan"), device("judy")]);
  for (let index = 0; index < 25; index++) await ivan.client.send({ user: "judy" }, `page ${index} needle${index}`);
  await judy.until(() => judy.texts.length >= 25, "all messages");
  const newest = await judy.client.history({ user: "ivan" }, { limit: 10 });
  assert.equal(newest.messages.at(-1)?.content.text?.text, "page 24 needle24");
  assert.ok(newest.more);
  const older = await judy.client.history({ user: "ivan" }, { limit: 100, before: newest.next });
  assert.equal(older.messages.length, 15);
  for (let tries = 0; ; tries++) {
    const found = await judy.client.search({ text: "needle17" });
    if (found.messages.length === 1) break;
    assert.ok(tries < 50, "the search finds it within 5 s");
    await sleep(100);
  }
});

test("read marks reach the other user, and drafts the user's other devices", async () => {
  const [ken, lea, phone] = await Promise.all([device("ken"), device("lea"), device("lea", { device: "phone" })]);
  await (await ken.client.send({ user: "lea" }, "read me")).outcome();
  await lea.until(() => lea.texts.length > 0, "the message");
  const list = await lea.client.conversations();
  assert.equal(list.unread, 1);
  await phone.client.conversations();
  const message = lea.messages[0];
  assert.ok(message);
  await lea.client.mark({ user: "ken" }, { read: message.seq, readId: message.id, draft: "dear Ken" });
  await phone.until(
    () => phone.events.some((event) => event.type === "conversations_changed" && event.states.some(({ draft }) => draft === "dear Ken")),
    "the draft",
  );
  await ken.until(() => ken.events.some((event) => event.type === "conversations_changed" && event.states.some(({ peerRead }) => peerRead === message.id)), "the receipt");
  assert.equal((await lea.client.conversations()).unread, 0);
});

test("signals and presence reach those whom they are for", async () => {
  const mia = await device("mia");
  const [absent] = await mia.client.watch(["nora"]);
  assert.ok(!absent?.terminals.some(({ online }) => online));
  const nora = await device("nora");
  await mia.until(() => mia.events.some((event) => event.type === "presence" && event.presence.terminals.some(({ online }) => online)), "that she is there");
  assert.equal(await mia.client.signal({ user: "nora" }, { typing: {} }), true);
  await nora.until(() => nora.events.some((event) => event.type === "signal" && event.signal.from === "mia" && event.signal.typing !== undefined), "the signal");
});

test("a token that ends is replaced before it ends, and one that was refused is asked for anew", async () => {
  const reasons: string[] = [];
  const token = ({ reason }: { reason: string }): string => {
    reasons.push(reason);
    return reason === "first" ? "nonsense" : server.token("olga", reason === "rejected" ? 3 : 3600);
  };
  const olga = await device("olga", { token });
  await olga.until(() => olga.count("connected") >= 2, "the second connection", 15_000);
  assert.deepEqual(reasons, ["first", "rejected", "expiring"]);
  const closes = olga.events.flatMap((event) => (event.type === "disconnected" ? [event.code] : []));
  assert.deepEqual(closes, [4201, undefined]);
});

test("another connection of the same device takes its place, and only the user takes it back", async () => {
  const first = await device("pam", { device: "same" });
  const second = await device("pam", { device: "same" });
  await first.until(() => first.count("stopped") > 0, "the end of the first");
  assert.equal(first.client.state, "stopped");
  first.client.connect();
  await first.connected(2);
  await second.until(() => second.count("stopped") > 0, "the end of the second");
});

test("what the back end refuses is told with its reason, and stays until it is discarded", async () => {
  const quinn = await device("quinn");
  const sent = await quinn.client.send({ channel: "not-a-member" }, "let me in");
  await assert.rejects(sent.outcome(), (error: unknown) => error instanceof ImError && error.code === "refused" && error.refusal?.code === -1);
  assert.deepEqual((await quinn.client.queued()).map(({ state }) => state), ["failed"]);
  const retry = await quinn.client.retry(sent.localId);
  assert.ok(retry);
  await assert.rejects(retry.outcome(), (error: unknown) => error instanceof ImError && error.code === "refused");
  assert.deepEqual((await quinn.client.queued()).map(({ localId, state }) => [localId, state]), [[retry.localId, "failed"]], "in the place of the first");
  assert.equal(await quinn.client.retry(sent.localId), undefined, "it is not there any more");
  assert.equal(await quinn.client.discard(retry.localId), true);
  assert.deepEqual(await quinn.client.queued(), []);
});
