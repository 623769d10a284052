/**
 * Several tabs with one connection: the tab that holds a lock leads, and the others talk to it over a channel.
 *
 * A leader that does not answer within 5 s loses the lock and is fenced off by an epoch in the store: it cannot save any more, so
 * it cannot use a number that the new leader uses. Sends go into the shared store, whichever tab makes them. Each tab receives
 * every log in order and once, or a `reset` with the reason `missed` if it was asleep.
 */
import type { Init } from "./codec.js";
import type { ConversationChange } from "./core/marks.js";
import type { QueuedSend } from "./core/outbox.js";
import type { Question } from "./core/requests.js";
import type { Engine, Link } from "./engine.js";
import { CloseCode, ImError, type Refusal } from "./errors.js";
import type { ClientEvent, ConnectionState } from "./events.js";
import type { Conversation, LogName, Position } from "./ids.js";
import type { Response, Signal } from "./proto.js";
import { randomDeviceId, type Saved, type SavedPublish, type Store } from "./store/store.js";

/** A channel between tabs, such as a `BroadcastChannel`. */
export interface TabChannel {
  postMessage(message: unknown): void;
  onmessage: ((event: { data: unknown }) => void) | null;
  close(): void;
}

/** The platform functions that tabs need. */
export interface TabsPlatform {
  readonly locks: {
    request(name: string, options: { signal?: AbortSignal; steal?: boolean }, callback: () => Promise<void>): Promise<unknown>;
  };
  readonly channel: (name: string) => TabChannel;
}

/** A store that several tabs share. */
export interface SharedStore extends Store {
  readonly name: string;
  claim(isExclusive?: boolean): Promise<number>;
  isClaimed(): Promise<boolean>;
}

/** Returns whether several tabs may use a store. */
export function isShared(store: Store): store is SharedStore {
  return "claim" in store && "isClaimed" in store;
}

/** Returns the platform's functions for tabs; `undefined` if it lacks locks or channels. */
export function platformTabs(): TabsPlatform | undefined {
  const { navigator, BroadcastChannel } = globalThis as Partial<typeof globalThis>;
  const locks = (navigator as { locks?: TabsPlatform["locks"] } | undefined)?.locks;
  if (!locks || !BroadcastChannel) return undefined;
  return { locks, channel: (name) => new BroadcastChannel(name) as TabChannel };
}

/** Creates the engine of a {@link TabLink} that leads. */
export type MakeEngine = (
  saved: Saved,
  handlers: { onEvent(event: ClientEvent): void; onState(state: ConnectionState): void; onStoreLost(error: ImError): void },
) => Engine;

interface TabsConfig {
  readonly platform: TabsPlatform;
  readonly store: SharedStore;
  readonly saved: Saved;
  readonly makeEngine: MakeEngine;
  /** Returns the standing requests of this tab's client: rooms and watched users. */
  readonly standing: () => Iterable<Question>;
  readonly onEvent: (event: ClientEvent) => void;
  readonly onState: (state: ConnectionState) => void;
  readonly onStoreLost: (error: ImError) => void;
}

type Call =
  | { readonly method: "request"; readonly question: Question }
  | { readonly method: "mark"; readonly to: Conversation; readonly change: ConversationChange }
  | { readonly method: "signal"; readonly signal: Init<Signal> }
  | { readonly method: "discard" | "retry"; readonly localId: number }
  | { readonly method: "queued" | "ping" };

interface PackedError {
  readonly code: ImError["code"];
  readonly message: string;
  readonly refusal?: Refusal | undefined;
}

type Message =
  | { readonly type: "leader"; readonly epoch: number; readonly state: ConnectionState }
  | { readonly type: "events"; readonly epoch: number; readonly events: readonly unknown[] }
  | { readonly type: "call"; readonly from: string; readonly id: number; readonly call: Call }
  | { readonly type: "reply"; readonly to: string; readonly id: number; readonly value?: unknown; readonly error?: PackedError }
  | { readonly type: "do"; readonly what: "connect" | "disconnect" | "wake" | "pull" }
  | { readonly type: "hello" }
  | { readonly type: "bye"; readonly from: string };

interface Pending {
  readonly call: Call;
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: ImError) => void;
  /** Time at which the leader is given up. */
  at: number;
}

const PATIENCE_MS = 5000;
const TICK_MS = 500;
const LATE_MS = 2000;
const MAX_PENDING = 256;

const pack = (error: ImError): PackedError => ({ code: error.code, message: error.message, refusal: error.refusal });
const unpack = ({ code, message, refusal }: PackedError): ImError => new ImError(code, message, refusal);

/** A tab's access to the connection, its own or another tab's. */
export class TabLink implements Link {
  readonly #config: TabsConfig;
  readonly #tab = randomDeviceId();
  readonly #name: string;
  readonly #channel: TabChannel;
  readonly #pending = new Map<number, Pending>();
  /** The last position of each log that this tab received. */
  readonly #given = new Map<LogName, number>();
  /** The positions that this tab's application has processed. */
  readonly #dealtWith = new Map<LogName, Position>();
  /** The rooms and watched users of each tab, as far as the leader knows. */
  readonly #rooms = new Map<string, Set<string>>();
  readonly #watched = new Map<string, readonly string[]>();
  #outgoing: unknown[] = [];
  #engine: Engine | undefined;
  #epoch = 0;
  #contest = 0;
  #abort: AbortController | undefined;
  #release: (() => void) | undefined;
  #state: ConnectionState = "connecting";
  #lastId = 0;
  #timer: ReturnType<typeof setInterval> | undefined;
  #tickedAt = Date.now();
  #pinging = false;
  #dropping = false;
  #wantsConnection = true;
  #closed = false;

  constructor(config: TabsConfig) {
    this.#config = config;
    this.#name = config.store.name;
    for (const { channel, seq } of config.saved.cursors) this.#given.set(channel, seq);
    this.#channel = config.platform.channel(this.#name);
    this.#channel.onmessage = ({ data }) => this.#receive(data as Message);
    this.#contend(false);
    this.#post({ type: "hello" });
    this.#timer = setInterval(() => this.#tick(), TICK_MS);
    (this.#timer as { unref?: () => void }).unref?.();
  }

  /** Set if this tab has the connection. */
  get isLeading(): boolean {
    return this.#engine !== undefined;
  }

  connect(): void {
    this.#wantsConnection = true;
    this.#engine?.connect();
    this.#post({ type: "do", what: "connect" });
  }

  disconnect(): void {
    this.#wantsConnection = false;
    this.#engine?.disconnect();
    this.#post({ type: "do", what: "disconnect" });
  }

  pull(): void {
    if (this.#engine) this.#engine.pull();
    else {
      this.#post({ type: "do", what: "pull" });
      this.#ping();
    }
  }

  wake(): void {
    if (this.#engine) this.#engine.wake();
    else {
      this.#post({ type: "do", what: "wake" });
      this.#ping();
    }
  }

  /** Events that this tab does not take while other tabs do are reported as a reset when it takes events again. */
  setReading(reading: boolean): void {
    if (this.#engine) this.#engine.setReading(reading);
    else this.#dropping = !reading;
  }

  ack(position: Position): void {
    this.#dealtWith.set(position.log, position);
    this.#engine?.ack(position);
  }

  request(question: Question): Promise<Response> {
    return this.#call({ method: "request", question }) as Promise<Response>;
  }

  async mark(to: Conversation, change: ConversationChange): Promise<void> {
    await this.#call({ method: "mark", to, change });
  }

  signal(signal: Init<Signal>): Promise<boolean> {
    return this.#call({ method: "signal", signal }) as Promise<boolean>;
  }

  discard(localId: number): Promise<boolean> {
    return this.#call({ method: "discard", localId }) as Promise<boolean>;
  }

  retry(localId: number): Promise<SavedPublish | undefined> {
    return this.#call({ method: "retry", localId }) as Promise<SavedPublish | undefined>;
  }

  queued(): Promise<QueuedSend[]> {
    return this.#call({ method: "queued" }).then((list) =>
      (list as (Omit<QueuedSend, "error"> & { error?: PackedError })[]).map((one) => ({ ...one, error: one.error && unpack(one.error) })),
    );
  }

  async close(timeoutMs: number): Promise<void> {
    this.#closed = true;
    clearInterval(this.#timer);
    this.#abort?.abort();
    this.#contest++;
    if (this.#engine) await this.#engine.close(timeoutMs);
    else this.#post({ type: "bye", from: this.#tab });
    this.#engine = undefined;
    this.#flush();
    this.#release?.();
    this.#channel.onmessage = null;
    this.#channel.close();
    for (const { reject } of this.#pending.values()) reject(new ImError("closed", "the client is closed: open another one"));
    this.#pending.clear();
    this.#config.onState("closed");
  }

  /** Requests the lock, or steals it from a leader that does not answer. */
  #contend(steal: boolean): void {
    const contest = ++this.#contest;
    this.#abort?.abort();
    this.#abort = new AbortController();
    const isOver = (): boolean => this.#closed || contest !== this.#contest;
    const options = steal ? { steal } : { signal: this.#abort.signal };
    this.#config.platform.locks
      .request(this.#name, options, () => (isOver() ? Promise.resolve() : this.#lead(isOver)))
      .catch(() => {})
      .then(() => {
        // Another tab has taken the lock, or this one could not lead.
        if (!isOver()) setTimeout(() => !isOver() && this.#follow(), steal ? TICK_MS : 0);
      });
  }

  async #lead(isOver: () => boolean): Promise<void> {
    const { store, makeEngine } = this.#config;
    const epoch = await store.claim();
    const saved = await store.load();
    if (isOver()) return;
    this.#epoch = epoch;
    this.#rooms.clear();
    this.#watched.clear();
    const isCurrent = (): boolean => this.#epoch === epoch && !this.#closed;
    const engine = makeEngine(saved, {
      onEvent: (event) => isCurrent() && this.#handleEvent(event),
      onState: (state) => {
        if (isCurrent()) this.#setState(state);
      },
      onStoreLost: (error) => {
        if (!isCurrent()) return;
        if (error.code === "closed") this.#follow();
        else this.#config.onStoreLost(error);
      },
    });
    this.#engine = engine;
    if (this.#wantsConnection) engine.connect();
    this.#announce();
    this.#resume();
    await new Promise<void>((resolve) => (this.#release = resolve));
  }

  /** Gives the connection up, and waits to lead again. */
  #follow(): void {
    const engine = this.#engine;
    this.#engine = undefined;
    engine?.abandon();
    this.#release?.();
    this.#release = undefined;
    if (this.#closed) return;
    this.#contend(false);
    this.#post({ type: "hello" });
  }

  /** Handles an event of this tab's engine. */
  #handleEvent(event: ClientEvent): void {
    if (event.type === "stopped" && event.code === CloseCode.Replaced) {
      // A tab that was asleep learns from the server that another one has taken its place, which does not
      // stop it.
      void this.#config.store.isClaimed().then(
        (isClaimed) => (isClaimed ? this.#tellAll(event) : this.#follow()),
        () => this.#tellAll(event),
      );
      return;
    }
    this.#tellAll(event);
  }

  #tellAll(event: ClientEvent): void {
    this.#outgoing.push("error" in event ? { ...event, error: pack(event.error) } : event);
    if (this.#outgoing.length === 1) queueMicrotask(() => this.#flush());
    this.#give(event);
  }

  #flush(): void {
    const events = this.#outgoing;
    this.#outgoing = [];
    if (events.length > 0) this.#post({ type: "events", epoch: this.#epoch, events });
  }

  /** Passes every log to this tab's application, in order and once. */
  #give(event: ClientEvent): void {
    if (this.#dropping) return;
    if (event.type === "reset") {
      if (event.reason === "left") this.#given.delete(event.position.log);
      else this.#given.set(event.position.log, event.position.seq);
    }
    const position = event.type === "message" ? event.message.position : undefined;
    if (position) {
      const { log, seq } = position;
      const given = this.#given.get(log) ?? 0;
      if (seq <= given) {
        // Another tab led when it arrived, and this tab's application may have processed it.
        if ((this.#dealtWith.get(log)?.seq ?? 0) >= seq) this.#engine?.ack(position);
        return;
      }
      if (seq > given + 1) this.#config.onEvent({ type: "reset", position: { log, seq: seq - 1, id: 0n }, reason: "missed" });
      this.#given.set(log, seq);
    }
    this.#config.onEvent(event);
  }

  #setState(state: ConnectionState): void {
    this.#state = state;
    this.#config.onState(state);
    if (this.#engine) this.#announce();
  }

  #announce(): void {
    this.#post({ type: "leader", epoch: this.#epoch, state: this.#state });
  }

  /** Repeats unanswered requests, since there is a new leader. */
  #resume(): void {
    for (const question of this.#config.standing()) {
      const isAsked = [...this.#pending.values()].some(({ call }) => call.method === "request" && call.question === question);
      if (!isAsked) this.#call({ method: "request", question }).catch(() => {});
    }
    for (const [id, pending] of this.#pending) this.#dispatch(id, pending);
  }

  #call(call: Call): Promise<unknown> {
    if (this.#closed) return Promise.reject(new ImError("closed", "the client is closed: open another one"));
    if (this.#pending.size >= MAX_PENDING) {
      return Promise.reject(new ImError("queue_full", `${MAX_PENDING} requests of this tab wait for their answers: ask again when some of them are answered`));
    }
    return new Promise((resolve, reject) => {
      const id = ++this.#lastId;
      const pending = { call, resolve, reject, at: Infinity };
      this.#pending.set(id, pending);
      this.#dispatch(id, pending);
    });
  }

  #dispatch(id: number, pending: Pending): void {
    if (!this.#engine) {
      this.#post({ type: "call", from: this.#tab, id, call: pending.call });
      // Requests may take long, so only pings decide about a leader.
      if (pending.call.method === "ping") pending.at = Date.now() + PATIENCE_MS * (1 + Math.random() / 5);
      else this.#ping();
      return;
    }
    this.#pending.delete(id);
    const engine = this.#engine;
    this.#carryOut(this.#tab, pending.call).then(pending.resolve, (error: unknown) => {
      if (this.#closed || this.#engine === engine) return pending.reject(error as ImError);
      // The connection has moved to another tab meanwhile.
      this.#pending.set(id, pending);
      this.#dispatch(id, pending);
    });
  }

  /** Carries out a call of a tab on the leader. */
  async #carryOut(tab: string, call: Call): Promise<unknown> {
    const engine = this.#engine;
    if (!engine) throw new ImError("closed", "this tab does not have the connection any more: ask again");
    switch (call.method) {
      case "ping":
        return undefined;
      case "mark":
        return engine.mark(call.to, call.change);
      case "signal":
        return engine.signal(call.signal);
      case "discard":
        return engine.discard(call.localId);
      case "retry":
        return engine.retry(call.localId);
      case "queued":
        return (await engine.queued()).map((one) => ({ ...one, error: one.error && pack(one.error) }));
      case "request":
        return this.#ask(engine, tab, call.question);
    }
  }

  /** Joins and watches apply to all tabs together. */
  async #ask(engine: Engine, tab: string, question: Question): Promise<Response> {
    const { joinRoom, leaveRoom, watch } = question;
    if (joinRoom) this.#tabsIn(joinRoom.channel ?? "").add(tab);
    if (leaveRoom) {
      const tabs = this.#tabsIn(leaveRoom.channel ?? "");
      tabs.delete(tab);
      if (tabs.size > 0) return { number: 0, done: {} };
    }
    if (watch) {
      this.#watched.set(tab, watch.users ?? []);
      const users = [...new Set([...this.#watched.values()].flat())];
      return engine.request({ watch: { users } });
    }
    return engine.request(question);
  }

  #tabsIn(room: string): Set<string> {
    const tabs = this.#rooms.get(room) ?? new Set<string>();
    this.#rooms.set(room, tabs);
    return tabs;
  }

  #receive(message: Message): void {
    if (this.#closed) return;
    switch (message.type) {
      case "leader":
        if (message.epoch < this.#epoch) return;
        if (message.epoch > this.#epoch) {
          this.#epoch = message.epoch;
          if (this.#engine) this.#follow();
          this.#resume();
        }
        if (!this.#engine && this.#state !== message.state) this.#setState(message.state);
        return;
      case "events":
        if (message.epoch < this.#epoch || this.#engine) return;
        for (const event of message.events as ClientEvent[]) this.#give("error" in event ? ({ ...event, error: unpack(event.error) } as ClientEvent) : event);
        return;
      case "reply": {
        if (message.to !== this.#tab) return;
        const pending = this.#pending.get(message.id);
        this.#pending.delete(message.id);
        if (message.error) pending?.reject(unpack(message.error));
        else pending?.resolve(message.value);
        return;
      }
      case "call": {
        if (!this.#engine) return;
        const { from: to, id } = message;
        const engine = this.#engine;
        // The other tab repeats its call to the next leader by itself.
        const reply = (outcome: { value: unknown } | { error: PackedError }): void => {
          if (this.#engine === engine) this.#post({ type: "reply", to, id, ...outcome });
        };
        this.#carryOut(to, message.call).then(
          (value) => reply({ value }),
          (error: unknown) => reply({ error: pack(error as ImError) }),
        );
        return;
      }
      case "do":
        // Also applies to the tab that has the connection next.
        if (message.what === "connect" || message.what === "disconnect") this.#wantsConnection = message.what === "connect";
        this.#engine?.[message.what]();
        return;
      case "hello":
        if (this.#engine) this.#announce();
        return;
      case "bye":
        if (!this.#engine) return;
        this.#watched.delete(message.from);
        for (const [room, tabs] of this.#rooms) {
          if (tabs.delete(message.from) && tabs.size === 0) this.#engine.request({ leaveRoom: { channel: room } }).catch(() => {});
        }
    }
  }

  #post(message: Message): void {
    this.#channel.postMessage(message);
  }

  #ping(): void {
    if (this.#pinging || this.#engine || this.#closed) return;
    this.#pinging = true;
    this.#call({ method: "ping" })
      .catch(() => {})
      .finally(() => (this.#pinging = false));
  }

  #tick(): void {
    const now = Date.now();
    const isLate = now - this.#tickedAt > LATE_MS;
    this.#tickedAt = now;
    if (this.#engine) return;
    for (const [id, pending] of this.#pending) {
      if (pending.at > now) continue;
      // This tab was asleep: the answer may be on its way.
      if (isLate) {
        pending.at = now + PATIENCE_MS;
        continue;
      }
      this.#pending.delete(id);
      pending.resolve(undefined);
      this.#contend(true);
      return;
    }
    const page = (globalThis as { document?: { visibilityState: string } }).document;
    if (page?.visibilityState !== "hidden") this.#ping();
  }
}
