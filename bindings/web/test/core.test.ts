import assert from "node:assert/strict";
import { test } from "node:test";
import { decodeFrames, encode, encodeFrame, type Init } from "../src/codec.js";
import { Core } from "../src/core/core.js";
import { open, seal } from "../src/core/origin.js";
import type { ClientEvent } from "../src/events.js";
import { RefusalKind, type Publish, type PublishResult } from "../src/proto.js";
import { MemoryStore } from "../src/store/memory.js";
import { World, seeded } from "./world.js";

const WORLDS = Number(process.env["IM_WORLDS"] ?? 150);

test(`in ${WORLDS} random worlds every log comes in order and once, and every send has one effect, in order`, async () => {
  let connections = 0;
  let resets = 0;
  let restarts = 0;
  for (let seed = 1; seed <= WORLDS; seed++) {
    const random = seeded(seed);
    const world = new World(random);
    await world.restart();
    const sent = new Map<string, string[]>([["@bob", []], ["#team", []], ["@carol", []]]);
    for (let turn = 0; turn < 40; turn++) {
      const what = random();
      if (what < 0.35) {
        for (let count = random() * 5; count > 0; count--) world.append(random() < 0.5 ? "" : "team", "bob", { text: { text: "hi" } });
      } else if (what < 0.65) {
        const to = [...sent.keys()][Math.floor(random() * 3)] as string;
        const text = `${seed}.${turn}`;
        sent.get(to)?.push(text);
        await world.publish(to, text);
      } else if (what < 0.75) world.disconnect(random() < 0.5 ? undefined : 4001);
      else if (what < 0.8) world.trim(random() < 0.5 ? "" : "team", Math.floor(random() * 4));
      else if (what < 0.85) {
        restarts++;
        await world.restart();
      } else if (what < 0.88) world.isMember = !world.isMember;
      else if (what < 0.9) world.send({ goAway: { reconnectWithinMs: 1000 } });
      else if (what < 0.92) world.core.handleWake(world.now);
      await world.run(random() * random() * 4000);
    }
    world.faults = false;
    world.isMember = true;
    world.send({ syncHint: { withinMs: 100 } });
    await world.run(150_000);
    assert.deepEqual(world.failures, [], `seed ${seed}`);
    for (const [log, entries] of world.logs) {
      assert.equal(world.taken(log) ?? 0, entries.length, `seed ${seed}: the end of ${log || "the inbox"}`);
    }
    for (const [to, texts] of sent) {
      assert.deepEqual(world.published.filter((one) => one.to === to).map(({ text }) => text), texts, `seed ${seed}: sends to ${to}`);
    }
    assert.deepEqual(world.core.queued(), [], `seed ${seed}`);
    const saved = await world.store.load();
    for (const { channel, seq } of saved.cursors) assert.equal(seq, world.logs.get(channel)?.length, `seed ${seed}: the cursor of ${channel}`);
    connections += world.connections;
    resets += world.events.filter(({ type }) => type === "reset").length;
  }
  // The worlds are as wild as they are meant to be.
  assert.ok(connections > WORLDS * 4, `${connections} connections`);
  assert.ok(resets > WORLDS, `${resets} resets`);
  assert.ok(restarts > WORLDS / 2, `${restarts} restarts`);
});

test(`in ${WORLDS} random worlds with restores from backups nothing is doubled, and what is sent after one arrives`, async () => {
  let [restores, unconfirmed, renewed] = [0, 0, 0];
  for (let seed = 1; seed <= WORLDS; seed++) {
    const random = seeded(seed);
    const world = new World(random);
    world.restores = true;
    await world.restart();
    let backup = await world.store.load();
    /** What was sent since the last restore, and whether it was in the store when a process started. */
    let since = new Map<number, { text: string; loaded: boolean }>();
    const restart = async (): Promise<void> => {
      for (const send of since.values()) send.loaded = true;
      await world.restart();
    };
    for (let turn = 0; turn < 60; turn++) {
      const what = random();
      if (what < 0.6) {
        const to = ["@bob", "@carol", "#team"][Math.floor(random() * 3)] as string;
        const text = `${seed}.${turn}`;
        since.set(await world.publish(to, text), { text, loaded: false });
      } else if (what < 0.7) world.disconnect();
      else if (what < 0.8) backup = await world.store.load();
      else if (what < 0.88) {
        restores++;
        since = new Map();
        world.store = new MemoryStore(backup);
        await restart();
      } else if (what < 0.94) await restart();
      await world.run(random() * random() * 3000);
    }
    world.faults = false;
    await world.run(150_000);
    const counts = new Map<string, number>();
    for (const { text } of world.published) counts.set(text, (counts.get(text) ?? 0) + 1);
    for (const [text, count] of counts) assert.equal(count, 1, `seed ${seed}: ${text} is there ${count} times`);
    const failed = new Set<number>();
    for (const event of world.events) {
      if (event.type !== "send_failed") continue;
      assert.equal(event.error.code, "unconfirmed", `seed ${seed}: ${event.error.message}`);
      failed.add(event.localId);
    }
    for (const [localId, { text, loaded }] of since) {
      if (counts.has(text)) continue;
      assert.ok(failed.has(localId), `seed ${seed}: ${text} is gone`);
      assert.ok(loaded || (world.tries.get(text) ?? 0) > 1, `seed ${seed}: ${text} was never in doubt`);
      unconfirmed++;
    }
    assert.deepEqual(world.core.queued().filter(({ state }) => state !== "failed"), [], `seed ${seed}`);
    renewed += (await world.store.load()).renewed === undefined ? 0 : 1;
  }
  assert.ok(restores > WORLDS * 2 && renewed > WORLDS / 10, `${restores} restores, ${renewed} new installations`);
  assert.ok(unconfirmed < restores / 4, `${unconfirmed} of what was sent after a restore is in doubt`);
});

test("after rollbacks the device has what the log has", async () => {
  for (let seed = 1; seed <= 100; seed++) {
    const random = seeded(seed);
    const world = new World(random);
    world.faults = seed % 2 === 0;
    await world.restart();
    for (let count = 0; count < 20; count++) world.append("", "bob", { text: { text: `${count}` } });
    await world.run(3000);
    for (let turn = 0; turn < 5; turn++) {
      world.rollBack("", 1 + Math.floor(random() * 4));
      for (let count = random() * 8; count > 0; count--) world.append("", "bob", { text: { text: `turn ${turn}` } });
      await world.run(random() * 3000);
    }
    world.faults = false;
    world.send({ syncHint: { withinMs: 100 } });
    await world.run(150_000);
    assert.deepEqual(world.failures, [], `seed ${seed}`);
    const kept = new Map<number, bigint>();
    for (const event of world.events) {
      if (event.type === "reset") for (const seq of kept.keys()) if (seq > event.position.seq) kept.delete(seq);
      if (event.type === "message") kept.set(event.message.seq, event.message.id);
    }
    const log = world.logs.get("") ?? [];
    assert.equal(world.taken(""), log.length, `seed ${seed}`);
    for (const [seq, id] of kept) assert.equal(id, log[seq - 1]?.id, `seed ${seed}: entry ${seq}`);
  }
});

interface Rig { core: Core; actions: () => string[]; events: () => ClientEvent[]; connect(now: number, heartbeatMs?: number): void; frames(now: number): string[] }

async function rig(store = new MemoryStore(), random = (): number => 0.5): Promise<Rig> {
  const core = new Core({ device: { terminal: 1, id: "d" }, clientName: "test", random, requestTimeoutMs: 1000, syncEveryMs: 300_000, watchEveryMs: 300_000 }, await store.load());
  const actions: string[] = [];
  const drain = (): void => {
    for (let action; (action = core.pollAction()); ) {
      actions.push(action.type === "close" ? `close ${action.code}` : action.type === "ask_token" ? `ask_token ${action.request.reason}` : action.type);
    }
  };
  const made: Rig = {
    core,
    actions: () => {
      drain();
      return actions.splice(0);
    },
    events: () => {
      const events: ClientEvent[] = [];
      for (let event; (event = core.pollEvent()); ) events.push(event);
      return events;
    },
    connect(now, heartbeatMs = 10_000) {
      core.connect(now);
      core.handleEndpoints(now, ["ws://a"]);
      core.handleToken(now, "a.b.c");
      core.handleOpened(now);
      core.handleMessage(now, encodeFrame({ welcome: { version: 1, user: "me", serverTimeMs: now, heartbeatMs } }));
      made.frames(now);
      made.actions();
      made.events();
    },
    frames(now) {
      const names: string[] = [];
      for (let frame; (frame = core.pollTransmit(now)); ) for (const body of decodeFrames(frame, 65536)) names.push(...Object.keys(body));
      return names;
    },
  };
  return made;
}

/** Connects a process to a store, answers its publishes by `answer`, and returns what it sent. */
async function publishes(store: MemoryStore, answer: (publish: Publish) => Init<PublishResult>, ...texts: string[]): Promise<{ sent: Publish[]; events: ClientEvent[]; core: Core }> {
  const { core, connect, events } = await rig(store);
  connect(0);
  for (const text of texts) await store.append("@bob", encode("Content", { text: { text } }));
  core.handleSends(await store.appended(core.lastLocalId));
  const sent: Publish[] = [];
  for (let busy = true; busy; ) {
    busy = false;
    for (let batch; (batch = core.pollSave()); busy = true) {
      await store.save(batch);
      core.handleSaved(0);
    }
    for (let frame; (frame = core.pollTransmit(0)); busy = true) {
      for (const { publish } of decodeFrames(frame, 65536)) {
        if (!publish) continue;
        sent.push(publish);
        core.handleMessage(0, encodeFrame({ publishResult: { number: publish.number, ...answer(publish) } }));
      }
    }
  }
  return { sent, events: events(), core };
}

const used = { refused: { kind: RefusalKind.NumberUsed, reason: "used" } };
const accepted = { accepted: { messageId: 7n } };

test("what a process sends itself gets another installation if its number was used", async () => {
  const store = new MemoryStore();
  await publishes(store, () => accepted, "before");
  const { installation } = await store.load();
  const first = await publishes(store, (publish) => (publish.installation === installation ? used : accepted), "one", "two");
  assert.deepEqual(first.sent.map(({ content, installation: of }) => [content?.text?.text, of === installation]), [["one", true], ["one", false], ["two", true], ["two", false]]);
  assert.equal(first.sent[0]?.origin, first.sent[1]?.origin, "it is known again");
  assert.equal(first.sent[1]?.installation, first.sent[3]?.installation);
  assert.deepEqual(first.events.map(({ type }) => type), ["sent", "sent"]);
  const later = await publishes(store, () => accepted, "three");
  assert.equal(later.sent[0]?.installation, first.sent[1]?.installation, "it stays");
  const hostile = await publishes(store, () => used, "four");
  assert.ok(hostile.sent.length < 10);
  assert.equal(hostile.events[0]?.type === "send_failed" && hostile.events[0].error.code, "refused");
});

test("what a backup held is sent under its number, and may have arrived if that was used", async () => {
  const store = new MemoryStore();
  for (const text of ["one", "two", "three"]) await store.append(text === "two" ? "@carol" : "@bob", encode("Content", { text: { text } }));
  const backup = await store.load();
  const original = await publishes(store, () => accepted);
  assert.equal(original.sent.length, 3);
  const copy = new MemoryStore(backup);
  const restored = await publishes(copy, (publish) => (publish.content?.text?.text === "one" ? accepted : used), "four");
  const known = ({ number, installation, origin, content }: Publish): unknown[] => [number, installation, origin, content?.text?.text];
  const text = (publish: Publish): string => publish.content?.text?.text ?? "";
  const byText = (one: Publish, other: Publish): number => (text(one) < text(other) ? -1 : 1);
  assert.deepEqual(restored.sent.filter((publish) => text(publish) !== "four").sort(byText).map(known), original.sent.sort(byText).map(known));
  const failed = restored.events.filter(({ type }) => type === "send_failed");
  assert.deepEqual(failed.map((event) => event.type === "send_failed" && [event.localId, event.error.code]).sort(), [[2, "unconfirmed"], [3, "unconfirmed"], [restored.core.lastLocalId, "refused"]].sort());
});

test("what failed is retried under one number, before a restore and after it", async () => {
  const store = new MemoryStore();
  const refused = { refused: { kind: RefusalKind.TooMany, reason: "too many" } };
  const first = await publishes(store, () => refused, "one");
  assert.equal(first.events[0]?.type, "send_failed");
  const backup = await store.load();
  const retries: unknown[][] = [];
  for (const copy of [store, new MemoryStore(backup)]) {
    const retry = await copy.retry(1);
    assert.ok(retry);
    const later = await publishes(copy, () => accepted, "two");
    assert.deepEqual(later.sent.map(({ content }) => content?.text?.text), ["one", "two"], "in their order");
    retries.push([later.sent[0]?.number, later.sent[0]?.installation, later.sent[0]?.content]);
    assert.notEqual(later.sent[0]?.number, first.sent[0]?.number, "an answer that is late is not for the retry");
    assert.deepEqual(later.core.queued(), []);
    assert.deepEqual((await copy.load()).outbox, []);
  }
  assert.deepEqual(retries[0], retries[1]);
  assert.ok((await store.load()).nextNumber < 10_000, "the numbers of retries are apart");
});

test("a retry that was saved and not answered travels again, and is no failure any more", async () => {
  const store = new MemoryStore();
  await publishes(store, () => ({ refused: { kind: RefusalKind.TooMany, reason: "too many" } }), "one");
  const { core, connect } = await rig(store);
  connect(0);
  await store.retry(1);
  core.handleSends(await store.appended(core.lastLocalId));
  assert.deepEqual(core.queued().map(({ state }) => state), ["pending"]);
  const batch = core.pollSave();
  assert.ok(batch);
  await store.save(batch);
  core.handleSaved(0);
  const sentOf = (bytes: Uint8Array | undefined): unknown => bytes && [...decodeFrames(bytes, 65536)].map(({ publish }) => [publish?.number, publish?.installation]);
  const travelled = sentOf(core.pollTransmit(0));
  assert.ok(travelled);
  const { outbox } = await store.load();
  assert.deepEqual(outbox.map(({ number, installation }) => [number, installation]), travelled, "a later process sends it under the same number");
  const later = await rig(store);
  assert.deepEqual(later.core.queued().map(({ state }) => state), ["sent"]);
});

test("a store opens the origins that it has sealed, and no others", () => {
  const key = 0x0123456789abcdefn;
  const seen = new Set<bigint>();
  for (const localId of [...Array.from({ length: 2000 }, (_, index) => index + 1), 2 ** 32 - 1]) {
    const origin = seal(key, localId);
    assert.equal(open(key, origin), localId);
    assert.equal(open(key + 1n, origin), undefined);
    seen.add(origin);
  }
  assert.equal(seen.size, 2001);
  assert.equal(open(key, 0n), undefined);
});

test("each close code leads to what its range says", async () => {
  const expected: [number | undefined, string, string[]][] = [
    [undefined, "waiting", []],
    [1006, "waiting", []],
    [4000, "waiting", []],
    [4199, "waiting", []],
    [4200, "waiting", ["ask_token rejected"]],
    [4399, "waiting", ["ask_token rejected"]],
    [4400, "stopped", []],
    [4403, "stopped", []],
    [4599, "stopped", []],
    [4600, "waiting", []],
  ];
  for (const [code, state, asked] of expected) {
    const { core, actions, connect } = await rig();
    connect(0);
    core.handleClosed(10, code, "");
    assert.equal(core.state, state, `${code}`);
    core.handleTimeout(60_000);
    assert.deepEqual(actions().filter((action) => action.startsWith("ask_token")), asked, `${code}`);
  }
});

test("attempts are made one at a time, with full jitter up to 30 s", async () => {
  const delays: number[] = [];
  const { core, actions, events } = await rig(new MemoryStore(), () => 1);
  core.connect(0);
  core.handleEndpoints(0, ["ws://a"]);
  core.handleToken(0, "a.b.c");
  let now = 0;
  for (let attempt = 0; attempt < 9; attempt++) {
    assert.equal(actions().filter((action) => action === "connect").length, 1, `attempt ${attempt}`);
    core.handleClosed(now, undefined, "");
    const event = events().find(({ type }) => type === "disconnected");
    delays.push(event?.type === "disconnected" ? event.retryInMs : NaN);
    now = core.pollTimeout() ?? NaN;
    core.handleTimeout(now);
    core.handleEndpoints(now, ["ws://a"]);
  }
  assert.deepEqual(delays, [500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000]);
});

test("a device that was told to disconnect stays away until it is told to connect", async () => {
  const { core, actions, connect, events } = await rig();
  core.disconnect();
  assert.deepEqual(events(), [], "there is no connection");
  connect(0);
  core.handleRequest(0, 7, { joinRoom: { channel: "stage" } });
  core.disconnect();
  assert.equal(core.state, "disconnected");
  assert.deepEqual(events().map((event) => event.type === "disconnected" && [event.code, event.retryInMs]), [[4405, Infinity]]);
  assert.equal(core.pollAnswered()?.asker, 7, "nobody will answer");
  assert.deepEqual(actions(), ["close 4405"]);
  core.handleWake(1000);
  core.handleTimeout(3_600_000);
  assert.deepEqual([core.state, actions()], ["disconnected", []]);
  core.connect(3_600_000);
  assert.equal(core.state, "connecting");
  core.disconnect();
  core.handleToken(3_600_001, "a.b.c");
  assert.equal(core.state, "disconnected", "what was asked for comes too late");
});

test("a silent server is asked, and then given up; one that was asleep with its device is asked first", async () => {
  const one = await rig();
  one.connect(0);
  one.core.handleTimeout(9000);
  assert.deepEqual(one.frames(9000), ["ping"]);
  one.core.handleTimeout(20_000);
  assert.equal(one.core.state, "waiting");
  assert.deepEqual(one.actions(), ["close 4002"]);
  const other = await rig();
  other.connect(0);
  other.core.handleTimeout(3_600_000, true);
  assert.equal(other.core.state, "connected");
  assert.ok(other.frames(3_600_000).includes("ping"));
  other.core.handleMessage(3_600_100, encodeFrame({ pong: { echo: 1n } }));
  other.core.handleTimeout(3_605_100);
  assert.equal(other.core.state, "connected");
  const gone = await rig();
  gone.connect(0);
  gone.core.handleWake(3_600_000);
  gone.core.handleTimeout(3_605_000);
  assert.equal(gone.core.state, "waiting");
});

test("a token is asked for before it ends, by the server's clock, and once", async () => {
  const token = (seconds: number): string => `a.${Buffer.from(JSON.stringify({ exp: seconds })).toString("base64url")}.c`;
  const { core, actions, frames } = await rig();
  core.connect(0);
  core.handleEndpoints(0, ["ws://a"]);
  // The server's clock is an hour ahead, and the token good for ten minutes.
  core.handleToken(0, token(4200));
  core.handleOpened(0);
  core.handleMessage(0, encodeFrame({ welcome: { version: 1, user: "me", serverTimeMs: 3_600_000, heartbeatMs: 10_000_000 } }));
  frames(0);
  actions();
  core.handleTimeout(539_000);
  assert.deepEqual(actions(), []);
  core.handleTimeout(540_000);
  core.handleTimeout(541_000);
  assert.deepEqual(actions(), ["ask_token expiring"]);
  core.handleToken(542_000, token(9000));
  core.handleTimeout(542_000);
  assert.deepEqual(actions(), ["close 4405", "connect"]);
});

test("while the application does not read there is no connection", async () => {
  const { core, actions, connect } = await rig();
  connect(0);
  core.handleReading(10, false);
  assert.deepEqual(actions(), ["close 4405"]);
  core.handleTimeout(100_000);
  assert.deepEqual(actions(), []);
  core.handleReading(100_000, true);
  core.handleTimeout(100_000);
  assert.ok(actions().includes("connect"));
});

test("another user's token does not get at what was saved", async () => {
  const store = new MemoryStore();
  await store.save({ user: "me", nextNumber: 1, cursors: [], left: [], put: [], remove: [], marks: [] });
  const { core, events } = await rig(store);
  core.connect(0);
  core.handleEndpoints(0, ["ws://a"]);
  core.handleToken(0, "a.b.c");
  core.handleOpened(0);
  while (core.pollTransmit(0));
  core.handleMessage(0, encodeFrame({ welcome: { version: 1, user: "other", serverTimeMs: 0 } }));
  assert.equal(core.state, "stopped");
  const [event] = events();
  assert.equal(event?.type === "stopped" && event.cause, "other_user");
});

test("a failure of unknown effect is told as such, and one that is certain as retryable", async () => {
  const store = new MemoryStore();
  const { core, connect, events, frames } = await rig(store);
  connect(0);
  const publish = async (): Promise<void> => {
    await store.append("@bob", encode("Content", { text: { text: "hi" } }));
    core.handleSends(await store.appended(core.lastLocalId));
    const batch = core.pollSave();
    assert.ok(batch);
    core.handleSaved(0);
    assert.deepEqual(frames(0), ["publish"]);
  };
  const outcome = (): string[] => {
    while (core.pollSave()) core.handleSaved(0);
    return events().flatMap((event) => (event.type === "send_failed" ? [`${event.error.code} ${event.error.isRetryable}`] : []));
  };
  await publish();
  core.handleMessage(1, encodeFrame({ publishResult: { number: 1, refused: { kind: 1, reason: "no" } } }));
  assert.deepEqual(outcome(), ["refused true"]);
  await publish();
  core.handleMessage(1, encodeFrame({ publishResult: { number: 2, refused: { kind: 5, reason: "broken" } } }));
  assert.deepEqual(outcome(), ["unconfirmed false"]);
  await publish();
  core.handleMessage(1, encodeFrame({ publishResult: { number: 3 } }));
  assert.deepEqual(outcome(), ["unconfirmed false"]);
  // No back end has it: it is kept, and sent again under its number.
  await publish();
  core.handleMessage(1, encodeFrame({ publishResult: { number: 4, refused: { kind: 6, reason: "nobody", retryAfterMs: 1000 } } }));
  assert.deepEqual(outcome(), []);
  core.handleTimeout(2001);
  assert.deepEqual(frames(2001), ["publish"]);
  core.handleMessage(2002, encodeFrame({ publishResult: { number: 4, refused: { kind: 6, reason: "nobody" } } }));
  assert.deepEqual(outcome(), ["refused true"]);
});

/** A device that has the entries 1 to 5 of its inbox, whose ids are ten times as high. */
async function following(): Promise<Rig & { push(now: number, seq: number, id?: number): void; asked(now: number): { seq: number; id: bigint }[] }> {
  const store = new MemoryStore();
  await store.save({ user: "me", nextNumber: 1, cursors: [{ channel: "", seq: 0, id: 0n }], left: [], put: [], remove: [], marks: [] });
  const made = await rig(store);
  made.connect(0);
  const push = (now: number, seq: number, id = seq * 10): void => {
    made.core.handleMessage(now, encodeFrame({ push: { seq, message: { id: BigInt(id), from: "bob", content: { text: { text: `${seq}` } } } } }));
  };
  for (let seq = 1; seq <= 5; seq++) push(0, seq);
  made.core.handleMessage(0, encodeFrame({ syncDone: { ends: [{ seq: 5, id: 50n }] } }));
  made.events();
  const asked = (now: number): { seq: number; id: bigint }[] => {
    made.core.handleTimeout(now);
    const cursors: { seq: number; id: bigint }[] = [];
    for (let frame; (frame = made.core.pollTransmit(now)); ) {
      for (const { sync } of decodeFrames(frame, 65536)) for (const { seq, id } of sync?.cursors ?? []) cursors.push({ seq, id });
    }
    return cursors;
  };
  return { ...made, push, asked };
}

const seqs = (events: ClientEvent[]): (number | string)[] =>
  events.map((event) => (event.type === "message" ? event.message.seq : event.type === "reset" ? `${event.reason} ${event.position.seq}` : event.type));

test("entries that change places are put in order, and a gap that stays is asked for", async () => {
  const { push, asked, events } = await following();
  push(10, 7);
  assert.deepEqual(seqs(events()), []);
  push(20, 6);
  assert.deepEqual(seqs(events()), [6, 7]);
  push(30, 9);
  assert.deepEqual(asked(229), []);
  assert.deepEqual(asked(231), [{ seq: 7, id: 70n }]);
});

test("an end beyond the position is asked for at once", async () => {
  const { core, asked } = await following();
  core.handleMessage(10, encodeFrame({ syncHint: { withinMs: 0 } }));
  assert.deepEqual(asked(10), [{ seq: 5, id: 50n }]);
  core.handleMessage(20, encodeFrame({ syncDone: { ends: [{ seq: 8, id: 80n }] } }));
  assert.deepEqual(asked(2000), [{ seq: 5, id: 50n }]);
});

test("after a rollback what is remembered is compared, and what differs is asked about", async () => {
  const { core, push, asked, events } = await following();
  core.handleMessage(10, encodeFrame({ syncHint: { withinMs: 0, rolledBack: true } }));
  assert.deepEqual(asked(10), [{ seq: 0, id: 0n }]);
  for (const seq of [1, 2, 3]) push(20, seq);
  push(20, 4, 41);
  push(20, 5, 51);
  push(20, 6, 61);
  events();
  core.handleMessage(20, encodeFrame({ syncDone: { ends: [{ seq: 6, id: 61n }] } }));
  // Of the places that differ the first one is asked about.
  assert.deepEqual(asked(5000), [{ seq: 4, id: 40n }]);
  core.handleMessage(5010, encodeFrame({ reset: { cursor: { seq: 0 }, reason: 3 } }));
  assert.deepEqual(seqs(events()), ["forked 0"]);
  push(5010, 1);
  assert.deepEqual(seqs(events()), [1]);
});

test("a reset to a place that the device is past means nothing, unless another message came", async () => {
  const { core, push, events, asked } = await following();
  core.handleMessage(10, encodeFrame({ reset: { cursor: { seq: 3, id: 30n }, reason: 2 } }));
  assert.deepEqual(seqs(events()), []);
  push(20, 3, 31);
  assert.deepEqual(asked(3000), [{ seq: 3, id: 30n }]);
  core.handleMessage(3010, encodeFrame({ reset: { cursor: { seq: 2, id: 20n }, reason: 2 } }));
  assert.deepEqual(seqs(events()), ["trimmed 2"]);
});

test("one who has left a channel is told so, and forgets it", async () => {
  const { core, events } = await following();
  core.handleMessage(0, encodeFrame({ reset: { cursor: { channel: "team", seq: 4, id: 40n }, reason: 1 } }));
  core.handleMessage(0, encodeFrame({ reset: { cursor: { channel: "team" }, reason: 4 } }));
  core.handleMessage(0, encodeFrame({ reset: { cursor: { channel: "team" }, reason: 4 } }));
  assert.deepEqual(seqs(events()), ["new 4", "left 0"]);
});

test("acknowledgements are collected, and repeated over the next connection and with each sync", async () => {
  const { core, events } = await following();
  const acks = (now: number): number[] => {
    core.handleTimeout(now);
    const found: number[] = [];
    for (let frame; (frame = core.pollTransmit(now)); ) for (const { ack } of decodeFrames(frame, 65536)) found.push(...(ack?.cursors ?? []).map(({ seq }) => seq));
    return found;
  };
  core.handleAck(10, { log: "", seq: 2, id: 20n });
  core.handleAck(20, { log: "", seq: 4, id: 40n });
  core.handleAck(30, { log: "", seq: 3, id: 30n });
  core.handleAck(30, { log: "", seq: 9, id: 90n });
  assert.deepEqual(acks(100), []);
  assert.deepEqual(acks(110), [4]);
  core.handleMessage(200, encodeFrame({ syncHint: { withinMs: 0 } }));
  acks(200);
  assert.deepEqual(acks(300), [4]);
  core.handleClosed(400, undefined, "");
  events();
  core.handleTimeout(5000);
  core.handleEndpoints(5000, ["ws://a"]);
  core.handleOpened(5000);
  core.handleMessage(5000, encodeFrame({ welcome: { version: 1, user: "me", serverTimeMs: 0 } }));
  acks(5000);
  assert.deepEqual(acks(5100), [4]);
});

test("a fruitless sync is not asked for in a loop", async () => {
  const { core, push, asked } = await following();
  push(0, 9);
  const times: number[] = [];
  for (let now = 0; now < 200_000; now += 100) {
    if (asked(now).length === 0) continue;
    times.push(now);
    core.handleMessage(now, encodeFrame({ syncDone: { ends: [{ seq: 9, id: 90n }] } }));
  }
  assert.ok(times.length >= 5 && times.length <= 12, `${times.length} syncs within 200 s`);
});
