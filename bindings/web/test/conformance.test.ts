import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { decode, decodeFrames, encode, encodeFrame } from "../src/codec.js";
import { ConversationList, type ListedConversation } from "../src/conversations.js";
import { Core, checkSend, received, type CoreConfig } from "../src/core/core.js";
import { open, seal } from "../src/core/origin.js";
import { ImError } from "../src/errors.js";
import type { ClientEvent } from "../src/events.js";
import { conversationOf, keyOf, type Position } from "../src/ids.js";
import { Terminal, type Frame, type Mark } from "../src/proto.js";
import { Timeline, type ShownMessage } from "../src/timeline.js";
import { MAX_OUTBOX, type Batch, type Saved, type SavedCursor, type SavedMarks, type SavedPublish } from "../src/store/store.js";

/** A step of a vector: what the core is told, and what it makes of it. */
interface Step {
  readonly at: number;
  readonly do: string | Readonly<Record<string, never>>;
  readonly random?: readonly number[];
  readonly [output: string]: unknown;
}

const fromHex = (hex: string): Uint8Array => Uint8Array.from(hex.match(/../g) ?? [], (byte) => parseInt(byte, 16));
const toHex = (bytes: Uint8Array): string => Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");

/** A store in memory that shows what it holds. */
class PlainStore {
  user = "";
  nextNumber = 1;
  readonly cursors = new Map<string, SavedCursor>();
  readonly outbox = new Map<number, SavedPublish>();
  readonly marks = new Map<string, SavedMarks>();

  constructor(readonly installation: bigint) {}

  load(): Saved {
    const { user, installation, nextNumber } = this;
    const outbox = [...this.outbox.values()].sort((one, other) => one.localId - other.localId);
    return { user, device: "d1", installation, nextNumber, cursors: [...this.cursors.values()], outbox, marks: [...this.marks.values()] };
  }

  save(batch: Batch): void {
    this.user = batch.user;
    this.nextNumber = batch.nextNumber;
    for (const channel of batch.left) this.cursors.delete(channel);
    for (const cursor of batch.cursors) this.cursors.set(cursor.channel, cursor);
    for (const publish of batch.put) this.outbox.set(publish.localId, publish);
    for (const localId of batch.remove) this.outbox.delete(localId);
    for (const marks of batch.marks) {
      if (marks.marks.length > 0) this.marks.set(marks.to, marks);
      else this.marks.delete(marks.to);
    }
  }

  show(): unknown {
    const { cursors, outbox, marks } = this.load();
    const byName = (one: string, other: string): number => (one < other ? -1 : 1);
    // Users stand before channels.
    const markOrder = (to: string): string => (to.startsWith("@") ? `0${to}` : `1${to}`);
    return {
      user: this.user,
      cursors: cursors.map(({ channel, seq, id }) => [channel, seq, String(id)]).sort(([one], [other]) => byName(one as string, other as string)),
      outbox: outbox.map(({ localId, to, failure }) => [localId, to, failure ? 1 : 0]),
      marks: [...marks].sort((one, other) => byName(markOrder(one.to), markOrder(other.to))).map(({ to, marks: list }) => {
        // This client stores the conversation beside its marks.
        const { user = "", channel = "" } = conversationOf(to);
        return [to, list.map(({ mark }) => toHex(encode("Mark", { ...decode("Mark", mark), user, channel })))];
      }),
    };
  }
}

/** Replays a world through a core. */
class Replay {
  readonly #installation: bigint;
  readonly #store: PlainStore;
  #core: Core;
  #now = 0;
  #random: number[] = [];
  #storeWorks = true;
  #taken: readonly unknown[] | undefined;
  /** The numbers of the sends that travelled, by local id. */
  readonly #numbers = new Map<number, number>();
  #connects = false;
  #outputs: Record<string, unknown[]> & { [key: string]: unknown } = {};
  #saved: string;

  constructor(installation: bigint) {
    this.#installation = installation;
    this.#store = new PlainStore(installation);
    this.#core = this.#newCore();
    this.#saved = JSON.stringify(this.#store.show());
  }

  #newCore(): Core {
    const config: CoreConfig = {
      device: { terminal: Terminal.Desktop, id: "d1" },
      clientName: "vectors",
      random: () => {
        const drawn = this.#random.shift();
        assert.notEqual(drawn, undefined, "more is drawn than the core of the vectors draws");
        return drawn as number;
      },
      requestTimeoutMs: 15_000,
      syncEveryMs: 300_000,
      watchEveryMs: 300_000,
    };
    return new Core(config, this.#store.load());
  }

  /** Does a step, and returns what came of it. */
  step(step: Step): Record<string, unknown> {
    this.#outputs = {};
    this.#random = [...(step.random ?? [])];
    this.#connects = false;
    this.#taken = step["taken"] as undefined | unknown[];
    this.#take(step.do);
    this.#drain();
    const saved = this.#store.show();
    const isNew = JSON.stringify(saved) !== this.#saved;
    this.#saved = JSON.stringify(saved);
    return { at: this.#now, ...this.#outputs, state: this.#core.state, ...(isNew ? { store: saved } : {}) };
  }

  get undrawn(): number {
    return this.#random.length;
  }

  #take(input: Step["do"]): void {
    const core = this.#core;
    const now = this.#now;
    if (input === "connect") return core.connect(now);
    if (input === "opened") return core.handleOpened(now);
    if (input === "unreachable") return core.handleClosed(now, undefined, "test");
    if (input === "crash") return void (this.#core = this.#newCore());
    const given = input as unknown as {
      frame?: string; ended?: number | null; pass?: number; send?: string; to?: string; discard?: number; ack?: number; log?: string; id?: string;
      mark?: string; ask?: string; ticket?: number; signal?: string; store_works?: boolean; close?: number;
    };
    if (given.frame !== undefined) core.handleMessage(now, this.#sealed(given.frame));
    else if (given.ended !== undefined) core.handleClosed(now, given.ended ?? undefined, "test");
    else if (given.pass !== undefined) this.#pass(given.pass);
    else if (given.send !== undefined) this.#send(given.to ?? "", fromHex(given.send));
    else if (given.discard !== undefined) this.#outputs["discarded"] = core.discard(given.discard) as never;
    else if (given.ack !== undefined) core.handleAck(now, { log: given.log ?? "", seq: given.ack, id: BigInt(given.id ?? 0) } satisfies Position);
    else if (given.mark !== undefined) {
      const { user: _, channel: __, known: ___, $unknown: ____, ...change } = decode("Mark", fromHex(given.mark));
      // A number that is not set is 0 on the wire.
      const set = Object.fromEntries(Object.entries(change).filter(([, value]) => value !== undefined && value !== 0 && value !== 0n)) as Partial<Mark>;
      const kept = Object.fromEntries(Object.entries(change).filter(([name, value]) => value !== undefined && ["hidden", "mutedUntilMs"].includes(name)));
      core.handleMark(now, conversationOf(given.to ?? ""), { ...set, ...kept });
      this.#outputs["marked"] = true as never;
    } else if (given.ask !== undefined) {
      const { number: _, $unknown: __, ...question } = decode("Request", fromHex(given.ask));
      core.handleRequest(now, given.ticket ?? 0, question);
    } else if (given.signal !== undefined) this.#outputs["signalled"] = core.handleSignal(decode("Signal", fromHex(given.signal))) as never;
    else if (given.store_works !== undefined) this.#storeWorks = given.store_works;
    else if (given.close !== undefined) core.close(now, now + given.close);
    else assert.fail(`this client does not know the step ${JSON.stringify(input)}`);
  }

  #send(to: string, content: Uint8Array): void {
    try {
      checkSend(conversationOf(to), content);
      if (!this.#storeWorks) throw new ImError("store", "test");
      if (this.#store.outbox.size >= MAX_OUTBOX) throw new ImError("queue_full", "test");
    } catch (error) {
      return this.#note("taken", (error as ImError).code);
    }
    // Where local ids go on after a restart is drawn by each client's store.
    const localId = this.#taken?.[0] as number;
    this.#store.outbox.set(localId, { localId, number: 0, to, content });
    this.#note("taken", localId);
    this.#core.handleSends([...this.#store.outbox.values()].filter((publish) => publish.localId > this.#core.lastLocalId));
  }

  #pass(ms: number): void {
    const end = this.#now + ms;
    for (let at; (at = this.#core.pollTimeout()) !== undefined && at <= end; ) {
      this.#now = Math.max(this.#now, at);
      this.#core.handleTimeout(this.#now);
      this.#drain();
      if (this.#connects) return;
    }
    this.#now = end;
  }

  #note(kind: string, value: unknown): void {
    (this.#outputs[kind] ??= []).push(value);
  }

  #drain(): void {
    const core = this.#core;
    for (let isDone = false; !isDone; ) {
      isDone = true;
      for (let frame; (frame = core.pollTransmit(this.#now)); isDone = false) this.#note("frames", this.#opened(frame));
      for (let action; (action = core.pollAction()); isDone = false) {
        if (action.type === "ask_token") core.handleToken(this.#now, "token");
        else if (action.type === "ask_endpoints") {
          // One endpoint needs no draw.
          this.#random.unshift(0);
          core.handleEndpoints(this.#now, ["ws://a:2"]);
        } else if (action.type === "connect") {
          this.#connects = true;
          this.#note("actions", "connect");
        } else this.#note("actions", action.code);
      }
      for (let batch; (batch = core.pollSave()); isDone = false) {
        if (this.#storeWorks) this.#store.save(batch);
        core.handleSaved(this.#now, this.#storeWorks ? undefined : new ImError("store", "test"));
      }
      for (let answered; (answered = core.pollAnswered()); isDone = false) {
        this.#note("answers", [answered.asker, answered.error ? answered.error.code : true]);
      }
      for (let event; (event = core.pollEvent()); isDone = false) {
        const shown = show(event);
        if (shown !== undefined) this.#note("events", shown);
      }
    }
  }

  /** A frame of the vectors as it travels: the number and the sealed origin stand where the local id was. */
  #sealed(hex: string): Uint8Array {
    const [frame] = [...decodeFrames(fromHex(hex), 1e6)] as [Frame];
    const { message } = frame.push ?? {};
    const { publishResult } = frame;
    if (publishResult) return encodeFrame({ publishResult: { ...publishResult, number: this.#numbers.get(publishResult.number) ?? 0 } });
    if (!frame.push || !message || message.origin === 0n) return fromHex(hex);
    return encodeFrame({ push: { ...frame.push, message: { ...message, origin: seal(this.#installation, Number(message.origin)) } } });
  }

  /** A frame as the vectors have it. */
  #opened(bytes: Uint8Array): string {
    const [frame] = [...decodeFrames(bytes, 1e6)] as [Frame];
    const { publish, request } = frame;
    if (publish) {
      const localId = open(this.#installation, publish.origin) ?? 0;
      this.#numbers.set(localId, publish.number);
      return toHex(encodeFrame({ publish: { ...publish, number: localId, installation: 0n, origin: BigInt(localId) } }));
    }
    if (request?.mark) {
      return toHex(encodeFrame({ request: { ...request, mark: { marks: request.mark.marks.map(({ ageMs: _, ...mark }) => mark) } } }));
    }
    return toHex(bytes);
  }
}

/** An event as the vectors have it; `undefined` for those that only this client has. */
function show(event: ClientEvent): unknown {
  const place = ({ log, seq, id }: Position): unknown => [log, seq, String(id)];
  switch (event.type) {
    case "connected":
      return { connected: event.user };
    case "disconnected":
      return { disconnected: event.code ?? null, retry_ms: event.retryInMs };
    case "stopped":
      return { stopped: event.cause, code: event.code ?? null };
    case "up_to_date":
      return "up_to_date";
    case "message": {
      const { id, from = null, content, position, localId = null } = event.message;
      return { message: String(id), from, content: toHex(encode("Content", content)), at: position ? place(position) : null, own: localId };
    }
    case "reset":
      return { reset: event.reason, at: place(event.position) };
    case "sent":
      return { sent: event.localId, id: String(event.messageId) };
    case "send_failed":
      // By this event the other tabs learn of it.
      if (event.error.code === "discarded") return undefined;
      return { failed: event.localId, code: event.error.code };
    case "conversations_changed":
      return { conversations: event.states.map(({ user, channel, version }) => [channel ? `#${channel}` : `@${user}`, version]) };
    case "channel_read":
      return { channel_read: event.receipt.user };
    case "signal":
      return { signal: event.signal.from };
    case "presence":
      return { presence: event.presence.user };
    case "room_left":
      return { room_left: event.channel, cause: event.cause };
    case "store_failed":
      return undefined;
  }
}

/** Fails where two values differ, but for fractions of a microsecond, which languages round differently. */
function assertSame(actual: unknown, expected: unknown, what: string): void {
  const round = (value: unknown): unknown =>
    JSON.parse(JSON.stringify(value), (_, inner: unknown) => (typeof inner === "number" && !Number.isInteger(inner) ? Math.round(inner * 100) / 100 : inner));
  assert.deepEqual(round(actual), round(expected), what);
}

const read = (file: string): unknown => JSON.parse(readFileSync(`../conformance/${file}`, "utf8"));
const worlds = read("core.json") as [{ installation: string }, ...Step[]][];

for (const [index, [{ installation }, ...steps]] of worlds.entries()) {
  test(`the core does what the Rust core does, world ${index + 1} of ${worlds.length}`, () => {
    const replay = new Replay(BigInt(installation));
    for (const [number, step] of steps.entries()) {
      // The line in the file.
      const what = `step ${number + 2}: ${JSON.stringify(step.do)}`;
      const { do: _, random: __, ...expected } = step;
      assertSame(replay.step(step), expected, what);
      assert.equal(replay.undrawn, 0, `${what}: less is drawn than the core of the vectors draws`);
    }
  });
}

/** A step of what is shown: an entry of a log, a state, a page or a reset. */
interface ViewStep {
  readonly push?: string;
  readonly state?: string;
  readonly page?: string;
  readonly reset?: "trimmed" | "left";
  readonly seq?: number;
  readonly told?: string | null;
  readonly look?: unknown;
  readonly shown?: unknown;
}

const look = (message: ShownMessage | undefined): unknown =>
  message?.hasCome
    ? [
        message.from ?? null, message.content ? toHex(encode("Content", message.content)) : null, message.isEdited, message.isPinned, message.isDeleted,
        message.recalled ? [String(message.recalled.change), message.recalled.by ?? null] : null,
        message.reactions.map(({ emoji, users }) => [emoji, users.map((user) => user ?? null)]),
      ]
    : null;

const listed = ({ conversation, state, last, lastRecalled, unread, unreadMore, mentions }: ListedConversation): unknown => [
  keyOf(conversation), state.version, last ? String(last.id) : null, last ? toHex(encode("Content", last.content)) : null,
  lastRecalled ? String(lastRecalled.change) : null, unread, unreadMore, mentions,
];

const logs = read("views.json") as ViewStep[][];

for (const [index, steps] of logs.entries()) {
  test(`timelines and the list of conversations show what those of Rust show, log ${index + 1} of ${logs.length}`, () => {
    const timeline = new Timeline("alice");
    const list = new ConversationList("alice");
    let expected: unknown;
    for (const [number, step] of steps.entries()) {
      const what = `step ${number + 1}: ${JSON.stringify(step).slice(0, 300)}`;
      if (step.push !== undefined) {
        const push = decode("Push", fromHex(step.push));
        const message = received(push, { log: push.channel, seq: push.seq, id: push.message?.id ?? 0n });
        assert.ok(message, what);
        const told = timeline.apply(message);
        list.apply({ type: "message", message });
        assert.equal(told === undefined ? null : String(told), step.told, what);
        assert.deepEqual(told === undefined ? null : look(timeline.get(told)), step.look, what);
      } else if (step.state !== undefined) list.apply({ type: "conversations_changed", states: [decode("ConversationState", fromHex(step.state))] });
      else if (step.page !== undefined) {
        list.beginLoading();
        list.load(decode("Conversations", fromHex(step.page)));
      } else if (step.reset !== undefined) list.apply({ type: "reset", position: { log: "team", seq: step.seq ?? 0, id: 0n }, reason: step.reset });
      else assert.fail(`this client does not know the ${what}`);
      expected = step.shown ?? expected;
      const { count, more } = list.unread(1000);
      assert.deepEqual({ list: list.conversations().map(listed), needs_loading: list.needsLoading, unread: [count, more] }, expected, what);
    }
  });
}
