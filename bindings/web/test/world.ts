import { decode, decodeFrames, encode, encodeFrame, type Init } from "../src/codec.js";
import { Core } from "../src/core/core.js";
import type { ClientEvent } from "../src/events.js";
import { keyOf, type Conversation } from "../src/ids.js";
import { RefusalKind, ResetReason, type Content, type Cursor, type Frame, type Publish, type Push } from "../src/proto.js";
import { MemoryStore } from "../src/store/memory.js";
import { randomBits, type Batch } from "../src/store/store.js";

/** Pseudo-random numbers that a seed repeats. */
export function seeded(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}

interface Logged { readonly id: bigint; readonly from: string; readonly content: Content }

/** A server and its back ends, as far as one device can tell, which lose and shuffle what they may. */
export class World {
  now = 1_800_000_000_000;
  readonly logs = new Map<string, Logged[]>([["", []], ["team", []]]);
  readonly firsts = new Map<string, number>([["", 1], ["team", 1]]);
  /** Of each conversation and installation the last publish and its result. */
  readonly #results = new Map<string, { number: number; bytes: string; id: bigint }>();
  readonly published: { to: string; text: string; origin: bigint; id: bigint }[] = [];
  /** How often each text was handed to the server. */
  readonly tries = new Map<string, number>();
  store = new MemoryStore();
  /** A used number is refused, and not a failure. */
  restores = false;
  /** The installation of what this process sends without a connection. */
  #own: bigint | undefined;
  readonly events: ClientEvent[] = [];
  core!: Core;
  /** On their way to the device. */
  readonly #down: { at: number; frame: Init<Frame> }[] = [];
  #connection = 0;
  #connected = false;
  #opensAt: number | undefined;
  #saves: { batch: Batch; at: number }[] = [];
  #nextId = 1000n;
  faults = true;
  isMember = true;
  /** Places that the device was told of, since its last reset. */
  readonly failures: string[] = [];
  readonly #taken = new Map<string, number>();
  #acks: { at: number; event: ClientEvent }[] = [];

  constructor(readonly random: () => number) {}

  chance(probability: number): boolean {
    return this.random() < probability;
  }

  /** A process of the device starts. What the last one had not saved is gone. */
  async restart(): Promise<void> {
    this.#connected = false;
    this.#opensAt = undefined;
    this.#down.length = this.#saves.length = this.#acks.length = 0;
    this.#taken.clear();
    this.#own = undefined;
    const saved = await this.store.load();
    for (const { channel, seq } of saved.cursors) this.#taken.set(channel, seq);
    this.core = new Core(
      { device: { terminal: 1, id: "d" }, clientName: "test", random: this.random, requestTimeoutMs: 15000, syncEveryMs: 300_000, watchEveryMs: 300_000 },
      saved,
    );
    this.core.connect(this.now);
  }

  /** Sends a text as the client does. Returns its local id. */
  async publish(to: string, text: string): Promise<number> {
    const own = this.core.state === "connected" ? undefined : (this.#own ??= randomBits());
    const localId = await this.store.append(to, encode("Content", { text: { text } }), own);
    this.core.handleSends(await this.store.appended(this.core.lastLocalId));
    return localId;
  }

  /** Something is logged, and pushed unless that is lost. */
  append(log: string, from: string, content: Init<Content>): bigint {
    const id = this.#nextId++;
    const entries = this.logs.get(log) as Logged[];
    entries.push({ id, from, content: decode("Content", encode("Content", content)) });
    if (this.#connected && (log === "" || this.isMember) && !(this.faults && this.chance(0.15))) {
      this.send({ push: this.entry(log, entries.length) }, this.faults && this.chance(0.2) ? this.random() * 300 : 0);
    }
    return id;
  }

  /** The last entries are lost, and the devices are told. */
  rollBack(log: string, count: number): void {
    const entries = this.logs.get(log) as Logged[];
    entries.length = Math.max(0, entries.length - count);
    this.firsts.set(log, Math.min(this.firsts.get(log) ?? 1, entries.length + 1));
    this.send({ syncHint: { withinMs: 500, rolledBack: true } });
  }

  trim(log: string, keep: number): void {
    const end = (this.logs.get(log) as Logged[]).length;
    this.firsts.set(log, Math.max(this.firsts.get(log) ?? 1, end - keep + 1));
  }

  entry(log: string, seq: number): Init<Push> {
    const { id, from, content } = (this.logs.get(log) as Logged[])[seq - 1] as Logged;
    return { channel: log, seq, message: { id, from, content } };
  }

  send(frame: Init<Frame>, delay = 0): void {
    if (!this.#connected) return;
    const behind = delay === 0 ? Math.max(this.now, ...this.#down.map(({ at }) => at)) : this.now;
    this.#down.push({ at: behind + delay, frame });
  }

  disconnect(code?: number): void {
    if (!this.#connected && this.#opensAt === undefined) return;
    this.#connected = false;
    this.#opensAt = undefined;
    this.#down.length = 0;
    this.core.handleClosed(this.now, code, "test");
  }

  /** Lets time pass. */
  async run(ms: number): Promise<void> {
    const until = this.now + ms;
    for (let steps = 0; ; steps++) {
      if (steps > 200_000) throw new Error("the world does not come to rest");
      await this.#settle();
      const next = Math.min(
        this.core.pollTimeout() ?? Infinity,
        this.#opensAt ?? Infinity,
        ...this.#down.map(({ at }) => at),
        ...this.#saves.map(({ at }) => at),
        ...this.#acks.map(({ at }) => at),
      );
      if (next > until) break;
      this.now = Math.max(this.now, next);
      await this.#due();
    }
    this.now = until;
  }

  async #due(): Promise<void> {
    if ((this.core.pollTimeout() ?? Infinity) <= this.now) this.core.handleTimeout(this.now);
    if ((this.#opensAt ?? Infinity) <= this.now) {
      this.#opensAt = undefined;
      if (this.faults && this.chance(0.2)) this.core.handleClosed(this.now, undefined, "refused");
      else {
        this.#connected = true;
        this.#connection++;
        this.core.handleOpened(this.now);
      }
    }
    const index = this.#down.findIndex(({ at }) => at <= this.now);
    const [due] = index < 0 ? [] : this.#down.splice(index, 1);
    if (due) this.core.handleMessage(this.now, encodeFrame(due.frame));
    const save = this.#saves[0];
    if (save && save.at <= this.now) {
      this.#saves.shift();
      if (this.faults && this.chance(0.05)) this.core.handleSaved(this.now, new (await import("../src/errors.js")).ImError("store", "no room"));
      else {
        await this.store.save(save.batch);
        this.core.handleSaved(this.now);
      }
    }
    const ack = this.#acks[0];
    if (ack && ack.at <= this.now) {
      this.#acks.shift();
      const { event } = ack;
      const position = event.type === "message" ? event.message.position : event.type === "reset" ? event.position : undefined;
      if (position) this.core.handleAck(this.now, position);
    }
  }

  async #settle(): Promise<void> {
    for (let busy = true; busy; ) {
      busy = false;
      for (let action; (action = this.core.pollAction()); busy = true) {
        if (action.type === "ask_endpoints") this.core.handleEndpoints(this.now, ["ws://one", "ws://two"]);
        else if (action.type === "ask_token") this.core.handleToken(this.now, "a.b.c");
        else if (action.type === "connect") this.#opensAt = this.now + this.random() * 100;
        else {
          this.#connected = false;
          this.#opensAt = undefined;
          this.#down.length = 0;
        }
      }
      for (let frame; (frame = this.core.pollTransmit(this.now)); busy = true) {
        for (const one of decodeFrames(frame, 65536)) this.#receive(one);
      }
      const batch = this.core.pollSave();
      if (batch) this.#saves.push({ batch, at: this.now + this.random() * 20 });
      for (let event; (event = this.core.pollEvent()); ) this.#take(event);
    }
    await Promise.resolve();
  }

  /** Every log in order and once, or an explicit reset. */
  #take(event: ClientEvent): void {
    this.events.push(event);
    if (event.type === "reset") {
      if (event.reason === "left") this.#taken.delete(event.position.log);
      else this.#taken.set(event.position.log, event.position.seq);
    }
    const position = event.type === "message" ? event.message.position : undefined;
    if (position) {
      const before = this.#taken.get(position.log) ?? 0;
      if (position.seq !== before + 1) this.failures.push(`${position.log || "the inbox"} went from ${before} to ${position.seq}`);
      this.#taken.set(position.log, position.seq);
    }
    if (position || event.type === "reset") this.#acks.push({ at: this.now + 5, event });
  }

  #receive(frame: Frame): void {
    if (!this.#connected) return;
    if (frame.hello) {
      this.send({ welcome: { version: 1, user: "me", serverTimeMs: this.now, heartbeatMs: 30_000 } });
      this.#sync(frame.hello.cursors);
    } else if (frame.sync) this.#sync(frame.sync.cursors);
    else if (frame.ping) this.send({ pong: { echo: frame.ping.echo } });
    else if (frame.publish) this.#publish(frame.publish);
  }

  #sync(cursors: readonly Cursor[]): void {
    if (this.faults && this.chance(0.1)) return;
    const listed = new Map(cursors.map((cursor) => [cursor.channel, cursor]));
    const ends: Init<Cursor>[] = [];
    for (const [log, entries] of this.logs) {
      const cursor = listed.get(log);
      if (log !== "" && !this.isMember) {
        if (cursor) this.send({ reset: { cursor: { channel: log }, reason: ResetReason.Left } });
        continue;
      }
      const end = entries.length;
      const first = this.firsts.get(log) as number;
      ends.push({ channel: log, seq: end, id: entries[end - 1]?.id ?? 0n });
      const lost = (): boolean => this.faults && this.chance(0.05);
      const reset = (seq: number, reason: ResetReason): number => {
        if (!lost()) this.send({ reset: { cursor: { channel: log, seq, id: entries[seq - 1]?.id ?? 0n }, reason } });
        return seq;
      };
      let from = cursor?.seq ?? 0;
      if (!cursor) from = reset(end, ResetReason.New);
      else if (from > end || (from > 0 && cursor.id !== 0n && from >= first && entries[from - 1]?.id !== cursor.id)) from = reset(first - 1, ResetReason.Forked);
      else if (from < first - 1) from = reset(first - 1, ResetReason.Trimmed);
      for (let seq = from + 1; seq <= end; seq++) if (!lost()) this.send({ push: this.entry(log, seq) });
    }
    if (!(this.faults && this.chance(0.1))) this.send({ syncDone: { ends } });
  }

  #publish(publish: Publish): void {
    const to: Conversation = publish.channel ? { channel: publish.channel } : { user: publish.to };
    const key = `${keyOf(to)} ${publish.installation}`;
    const text = publish.content?.text?.text ?? "";
    this.tries.set(text, (this.tries.get(text) ?? 0) + 1);
    const bytes = Buffer.from(encode("Publish", publish)).toString("hex");
    if (this.faults && this.chance(0.1)) return this.disconnect();
    if (this.faults && this.chance(0.1)) {
      const kind = this.chance(0.5) ? RefusalKind.TooMany : RefusalKind.Unavailable;
      return this.send({ publishResult: { number: publish.number, refused: { kind, reason: "busy", retryAfterMs: 50 } } });
    }
    const last = this.#results.get(key);
    if (last && (publish.number < last.number || (publish.number === last.number && last.bytes !== bytes))) {
      if (!this.restores) {
        this.failures.push(`publish ${publish.number} to ${key} followed ${last.number}`);
        return;
      }
      const earlier = this.published.find((one) => one.origin === publish.origin && one.text === text);
      const number = publish.number;
      if (earlier && this.chance(0.5)) this.send({ publishResult: { number, accepted: { messageId: earlier.id } } });
      else this.send({ publishResult: { number, refused: { kind: RefusalKind.NumberUsed, reason: "used" } } });
      return;
    }
    let id = last?.id ?? 0n;
    if (last?.number !== publish.number) {
      id = this.append(to.channel ?? "", "me", publish.content as Content);
      this.#results.set(key, { number: publish.number, bytes, id });
      this.published.push({ to: keyOf(to), text, origin: publish.origin, id });
    }
    if (this.faults && this.chance(0.1)) return this.disconnect();
    this.send({ publishResult: { number: publish.number, accepted: { messageId: id } } }, this.random() * 50);
  }

  get connections(): number {
    return this.#connection;
  }

  taken(log: string): number | undefined {
    return this.#taken.get(log);
  }
}
