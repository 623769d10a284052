import { decode, encode, type Init } from "./codec.js";
import type { ConversationList } from "./conversations.js";
import { checkSend, checkWatch, received, type TokenRequest } from "./core/core.js";
import type { ConversationChange } from "./core/marks.js";
import { open } from "./core/origin.js";
import type { SendState } from "./core/outbox.js";
import type { Question } from "./core/requests.js";
import { Engine, SignedOutError, storeError, type Link, type TokenProvider } from "./engine.js";
import { CloseCode, ImError } from "./errors.js";
import type { ClientEvent, ConnectionState, ReceivedMessage } from "./events.js";
import { conversationOf, isConversation, isDeviceId, keyOf, type Conversation, type LogName, type MessageId, type Position } from "./ids.js";
import { Terminal, type Content, type ContentKind, type Conversations, type Cursor, type Device, type Presence, type Push, type Readers, type Response, type Signal } from "./proto.js";
import { TabLink, isShared, platformTabs, type MakeEngine, type TabsPlatform } from "./tabs.js";
import { webSocket, type SocketFactory, type WebSocketClass } from "./socket.js";
import { MemoryStore } from "./store/memory.js";
import { randomBits, type Saved, type Store } from "./store/store.js";

export { SignedOutError, type TokenProvider, type TokenRequest };

/** A message's content as the application writes it. What is left out has its default. */
export type ContentInit = Init<Content>;

/** Settings of {@link Client.open}. */
export interface ClientOptions {
  /** WebSocket URLs, such as `wss://im.example.com/im`; or a function that asks for them. */
  readonly endpoints: readonly string[] | (() => Promise<readonly string[]> | readonly string[]);
  /** Asks the application's back end for a token of the user. */
  readonly token: TokenProvider;
  /** Where the device remembers what must not be lost. By default in memory: nothing survives a reload. */
  readonly store?: Store;
  /** What kind of device it is; by default a browser. */
  readonly terminal?: Terminal;
  /** The device's id; by default one that was drawn with the store. */
  readonly device?: string;
  /** How to open sockets; by default the platform's `WebSocket`. */
  readonly socket?: SocketFactory;
  /** Name and version of the application, for the operator's eyes. */
  readonly name?: string;
  /**
   * `auto`: what all listeners have dealt with counts as dealt with. `manual`: the application calls {@link Client.ack}, when its
   * own database has the message.
   */
  readonly ack?: "auto" | "manual";
  /**
   * Whether the tabs of a browser share one connection: by default they do where the store is an `IndexedDbStore` and the platform has
   * Web Locks and BroadcastChannel. Without those, the tab that was opened last has the store, and the others go on in memory, each as
   * a device of its own.
   */
  readonly tabs?: TabsPlatform | false;
  /** How long a request may take, in milliseconds; by default 15 s. */
  readonly requestTimeoutMs?: number;
  /** Called with what a listener throws; by default it is reported as an uncaught error. */
  readonly onListenerError?: (error: unknown) => void;
}

/** Listens to events. The next event comes when the promise has resolved. */
export type Listener = (event: ClientEvent) => void | Promise<void>;

/** A send that the store has: it travels whatever happens to this process. */
export interface SentMessage {
  /** Counts the sends of a store. */
  readonly localId: number;
  readonly to: Conversation;
  /**
   * Resolves when the back end took it.
   *
   * @throws {@link ImError} with the code `refused`, `unconfirmed` or `discarded`, or `closed` where this client closed first.
   */
  outcome(): Promise<Published>;
  /** Takes it back. Returns `false` if it may have arrived already. */
  discard(): Promise<boolean>;
}

/** A send that is not settled, or that failed. */
export interface QueuedMessage {
  readonly localId: number;
  readonly to: Conversation;
  readonly content: Content;
  readonly state: SendState;
  /** Why it failed. */
  readonly error?: ImError | undefined;
}

/** What the back end made of a message. */
export interface Published {
  /** 0 where the back end handled it without sending a message. */
  readonly messageId: MessageId;
  /** Whatever the back end answers. */
  readonly answer: Uint8Array;
}

/** Which part of a history is asked for. Of several places the first of this order counts. */
export interface HistoryQuery {
  /** Entries before this place, the highest of them. Without any place: the newest. */
  readonly before?: number;
  readonly beforeId?: MessageId;
  /** Entries after this place, the lowest of them; 0: from the beginning. */
  readonly after?: number;
  readonly afterId?: MessageId;
  readonly limit?: number;
  /** Only messages that were sent then or later, in milliseconds since the Unix epoch. */
  readonly sinceMs?: number;
  /** Only messages that were sent before. */
  readonly untilMs?: number;
  readonly kinds?: readonly Init<ContentKind>[];
  /** The log's entries, changes among them, instead of messages as they are now. */
  readonly raw?: boolean;
}

/** A page of a history, in the order of the log. */
export interface HistoryPage {
  readonly messages: readonly ReceivedMessage[];
  /** Reactions and pins of the messages. */
  readonly changes: readonly ReceivedMessage[];
  /** There are further ones in the direction that was asked for: ask again with `before` or `after` set to `next`. */
  readonly more: boolean;
  readonly next: number;
}

/** What to search for. */
export interface SearchQuery {
  /** Words apart from each other by white space. */
  readonly text: string;
  /** Only in this; by default in the inbox and in all channels of the user. */
  readonly conversation?: Conversation | "inbox";
  readonly from?: string;
  readonly kinds?: readonly Init<ContentKind>[];
  readonly sinceMs?: number;
  readonly untilMs?: number;
  /** `next` of the page before. */
  readonly before?: Cursor;
  readonly limit?: number;
}

/** What a search found, the newest first. */
export interface FoundPage {
  readonly messages: readonly ReceivedMessage[];
  /** Where to go on; `undefined`: that was all. */
  readonly next?: Cursor | undefined;
}

/** A room that the device is in. */
export interface JoinedRoom {
  /** About how many devices are in. */
  readonly online: number;
  readonly answer: Uint8Array;
  /** What was said last. */
  readonly recent: readonly ReceivedMessage[];
}

const MAX_EVENTS = 10_000;
const MAX_EARLY_OUTCOMES = 256;
const VERSION = "0.1.0";

/** Sends in memory are counted from here on: no store makes as many. */
const FIRST_IN_MEMORY = 2 ** 31;

type Outcome = { readonly published: Published } | { readonly error: ImError };

interface Waiting {
  readonly promise: Promise<Published>;
  settle(outcome: Outcome): void;
}

/**
 * A user's device: one connection that is kept alive, everything that comes in order, and sends that survive a restart.
 *
 * ```ts
 * const client = await Client.open({
 *   endpoints: ["wss://im.example.com"],
 *   token: async () => (await fetch("/im-token")).text(),
 *   store: await IndexedDbStore.open("alice"),
 * });
 * client.subscribe((event) => {
 *   if (event.type === "message") show(event.message);
 * });
 * await client.send({ user: "bob" }, "hello");
 * ```
 */
export class Client {
  readonly #options: ClientOptions;
  readonly #makeEngine: (device: Device, store: Store, ...rest: Parameters<MakeEngine>) => Engine;
  #store: Store;
  readonly #listeners = new Set<Listener>();
  readonly #queue: ClientEvent[] = [];
  readonly #outcomes = new Map<number, Waiting>();
  /** Of sends that settled before their handle was there. */
  readonly #early = new Map<number, Outcome>();
  /** What listeners have dealt with, not told yet. */
  readonly #acks = new Map<LogName, Position>();
  readonly #stateListeners = new Set<() => void>();
  /** What came of each log. */
  readonly #given = new Map<LogName, Position>();
  /** What was asked for until it is taken back: rooms, watched users. */
  readonly #standing = new Map<string, Question>();
  #installation: bigint;
  /** The installation of what this process sends without a connection; drawn once. */
  #own: bigint | undefined;
  #isPersistent: boolean;
  #link!: Link;
  #device!: Device;
  #user: string;
  #state: ConnectionState = "disconnected";
  #reading = true;
  #pumping = false;
  #closed = false;
  #stopWaking: () => void = () => {};

  private constructor(options: ClientOptions, socket: SocketFactory, store: Store, saved: Saved) {
    this.#options = options;
    this.#store = store;
    this.#isPersistent = !(store instanceof MemoryStore);
    this.#user = saved.user;
    this.#installation = saved.installation;
    // Nobody has sent anything from a new store.
    this.#own = saved.user === "" ? saved.installation : undefined;
    for (const { channel: log, seq, id } of saved.cursors) this.#given.set(log, { log, seq, id });
    const { endpoints, token } = options;
    const askEndpoints = async (): Promise<readonly string[]> => (typeof endpoints === "function" ? endpoints() : endpoints);
    const core = {
      clientName: `${options.name ?? "app"} im-sdk-web/${VERSION}`,
      random: Math.random,
      requestTimeoutMs: options.requestTimeoutMs ?? 15_000,
      syncEveryMs: 300_000,
      watchEveryMs: 300_000,
    };
    this.#makeEngine = (device, kept, loaded, handlers) =>
      new Engine({ core: { ...core, device }, store: kept, saved: loaded, socket, token, endpoints: askEndpoints, ...handlers });
  }

  /**
   * Opens the store and begins to connect. Events wait until {@link subscribe} or {@link events} takes them.
   *
   * @throws {@link ImError} where an option makes no sense, or the store cannot be read.
   */
  static async open(options: ClientOptions): Promise<Client> {
    const given = globalThis as { WebSocket?: unknown };
    const socket = options.socket ?? (given.WebSocket ? webSocket(given.WebSocket as WebSocketClass) : undefined);
    if (!socket) throw new ImError("invalid", "this platform has no WebSocket: give one as the option `socket`, such as webSocket(WebSocket) of the package ws");
    const store = options.store ?? new MemoryStore();
    const platform = options.tabs === false ? undefined : (options.tabs ?? platformTabs());
    const shared = isShared(store) ? store : undefined;
    const saved = await (async () => {
      // Without locks the last tab has the store, and takes over what the others have not sent.
      if (shared && !platform) await shared.claim(true);
      return store.load();
    })().catch((error: unknown) => {
      throw storeError(error);
    });
    const device = { terminal: options.terminal ?? Terminal.Web, id: options.device ?? saved.device };
    if (!isDeviceId(device.id)) throw new ImError("invalid", `${device.id} is no device id: use 1 to 64 printable ASCII characters without braces and slashes`);
    const client = new Client(options, socket, store, saved);
    client.#device = device;
    const handlers = client.#handlers();
    if (platform && shared) {
      const makeEngine: MakeEngine = (...rest) => client.#makeEngine(device, store, ...rest);
      client.#link = new TabLink({ platform, store: shared, saved, makeEngine, standing: () => client.#standing.values(), ...handlers });
    } else {
      client.#link = client.#makeEngine(device, store, saved, handlers);
      client.#link.connect();
    }
    client.#stopWaking = onWake(() => client.wake());
    return client;
  }

  /** What the present link tells; once there is another one, it tells nothing. */
  #handlers(): Parameters<MakeEngine>[1] {
    const store = this.#store;
    const guard = <T extends unknown[]>(handle: (...given: T) => void) => (...given: T): void => {
      if (store === this.#store) handle(...given);
    };
    return {
      onEvent: guard((event: ClientEvent) => this.#take(event)),
      onState: guard((state: ConnectionState) => this.#setState(state)),
      onStoreLost: guard((error: ImError) => this.#goOnInMemory(error)),
    };
  }

  /** The store is of no use any more. */
  #goOnInMemory(error: ImError): void {
    if (!this.#isPersistent || this.#closed) return;
    this.#isPersistent = false;
    const [link, lost] = [this.#link, this.#store];
    const cursors = [...this.#given.values()].map(({ log, seq, id }) => ({ channel: log, seq, id }));
    const store = (this.#store = new MemoryStore({ user: this.#user, cursors, nextLocalId: FIRST_IN_MEMORY }));
    void Promise.resolve(link instanceof Engine ? link.abandon() : link.close(0)).then(() => lost.close());
    const left = new ImError("store", `the message stays in the store, from which it travels when that is opened anew: ${error.message}`);
    for (const waiting of this.#outcomes.values()) waiting.settle({ error: left });
    this.#outcomes.clear();
    const saved = store.saved();
    this.#installation = this.#own = saved.installation;
    this.#device = { ...this.#device, id: saved.device };
    this.#link = this.#makeEngine(this.#device, store, saved, this.#handlers());
    this.#link.setReading(this.#reading);
    this.#queueEvent({ type: "store_lost", error });
    this.#link.connect();
    for (const question of this.#standing.values()) this.#link.request(question).catch(() => {});
  }

  /** Where the connection stands. */
  get state(): ConnectionState {
    return this.#state;
  }

  /** The user; empty before the first connection of a new store. */
  get user(): string {
    return this.#user;
  }

  /** Whether what is sent survives this page; not with a `MemoryStore`, and not after the event `store_lost`. */
  get isPersistent(): boolean {
    return this.#isPersistent;
  }

  /** This device. */
  get device(): Device {
    return this.#device;
  }

  /** Connects at once: after the server said not to, or while the client waits for its next attempt. */
  connect(): void {
    this.#link.connect();
  }

  /**
   * Ends the connection, of all tabs that share it, and stays away until {@link connect} or until another tab is opened. What is sent
   * meanwhile waits in the store.
   */
  disconnect(): void {
    this.#link.disconnect();
  }

  /** The network may have changed, or the device was asleep. Browsers say so by themselves; elsewhere the application does. */
  wake(): void {
    this.#link.wake();
  }

  /** Calls a function with every event from here on, and first with those that nobody has taken yet. Returns how to stop. */
  subscribe(listener: Listener): () => void {
    this.#listeners.add(listener);
    queueMicrotask(() => this.#pump());
    return () => this.#listeners.delete(listener);
  }

  /** The events, one by one. An event counts as dealt with when the next one is asked for. */
  async *events(): AsyncGenerator<ClientEvent, void, void> {
    let event: ClientEvent | undefined;
    let taken: (() => void) | undefined;
    let come: (() => void) | undefined;
    const stop = this.subscribe((next) => {
      event = next;
      come?.();
      return new Promise<void>((resolve) => (taken = resolve));
    });
    const stopState = this.onState(() => come?.());
    try {
      for (;;) {
        if (event) {
          const next = event;
          event = undefined;
          yield next;
          taken?.();
        } else if (this.#closed) return;
        else await new Promise<void>((resolve) => (come = resolve));
      }
    } finally {
      stop();
      stopState();
      taken?.();
    }
  }

  /** Calls a function whenever {@link state} or {@link user} has changed. Returns how to stop. */
  onState(listener: () => void): () => void {
    this.#stateListeners.add(listener);
    return () => this.#stateListeners.delete(listener);
  }

  /**
   * Sends a message to a user or a channel. When the promise resolves the message is in the store: it travels as soon as there
   * is a connection, in order, and has one effect however often it is tried.
   *
   * @throws {@link ImError} with the code `invalid`, `too_large`, `queue_full`, `store` or `closed`: it was not taken.
   */
  async send(to: Conversation, content: ContentInit | string): Promise<SentMessage> {
    if (this.#closed) throw new ImError("closed", `the message to ${keyOf(to)} was not taken: the client is closed`);
    checkConversation(to);
    const bytes = encode("Content", typeof content === "string" ? { text: { text: content } } : content);
    checkSend(to, bytes);
    const localId = await this.#append(keyOf(to), bytes);
    const sent = this.#sent(localId, to);
    this.#link.pull();
    return sent;
  }

  /**
   * Sends anew what has failed, as a new message at the end of its conversation, and forgets the failed one. Returns `undefined` where
   * nothing failed under this local id. A message that is retried, restored from a backup and retried again arrives once.
   *
   * @throws {@link ImError} with the code `store` or `closed`: it stays failed.
   */
  async retry(localId: number): Promise<SentMessage | undefined> {
    if (this.#closed) throw new ImError("closed", "the message was not taken: the client is closed");
    const retry = await this.#link.retry(localId).catch((error: unknown) => {
      throw storeError(error);
    });
    return retry && this.#sent(retry.localId, conversationOf(retry.to));
  }

  /** Forgets a send that waits or that failed. Returns `false` if it may have arrived already, or is unknown. */
  discard(localId: number): Promise<boolean> {
    return this.#link.discard(localId);
  }

  /** Returns the sends that are not settled and those that failed, in their order. */
  async queued(): Promise<QueuedMessage[]> {
    const queued = await this.#link.queued();
    return queued.map(({ to, content, ...rest }) => ({ ...rest, to: conversationOf(to), content: decode("Content", content) }));
  }

  /** With `ack: "manual"`: the application has dealt with everything in a log up to this position. */
  ack(position: Position): void {
    this.#link.ack(position);
  }

  /** Returns a page of what came before: of a conversation, or of the whole inbox. */
  async history(of: Conversation | "inbox", query: HistoryQuery = {}): Promise<HistoryPage> {
    const { raw = false, before, beforeId, after, afterId, limit, sinceMs, untilMs, kinds } = query;
    const history = { ...place(of), before, beforeId, after, afterId, limit, sinceMs, untilMs, kinds: [...(kinds ?? [])], messages: !raw };
    const page = expect(await this.#request({ history }), "history");
    const next = page.next || (before !== undefined || after === undefined ? page.entries[0]?.seq : page.entries.at(-1)?.seq) || 0;
    return { messages: this.#messages(page.entries), changes: this.#messages(page.changes), more: page.more, next };
  }

  /** Searches messages that the back end keeps for good. */
  async search(query: SearchQuery): Promise<FoundPage> {
    const { conversation, kinds, before, ...rest } = query;
    const search = { ...rest, ...(conversation ? place(conversation) : {}), kinds: [...(kinds ?? [])], before };
    const found = expect(await this.#request({ search }), "found");
    return { messages: this.#messages(found.entries), next: found.next };
  }

  /** Returns a page of the list of conversations. From then on changes to it come as events. */
  async conversations(page: { readonly limit?: number; readonly skip?: number } = {}): Promise<Conversations> {
    return expect(await this.#request({ conversations: page }), "conversations");
  }

  /** Loads all pages into a list, which is up to date from then on as long as it is fed with all events. */
  async loadConversations(list: ConversationList): Promise<void> {
    list.beginLoading();
    for (let skip = 0; ; ) {
      const page = await this.conversations({ skip });
      list.load(page);
      skip += page.conversations.length;
      if (!page.more || page.conversations.length === 0) return;
    }
  }

  /**
   * Sets something in a conversation, for all devices of the user: what was read, pinned, muted, a draft. When the promise
   * resolves the store has it.
   */
  mark(conversation: Conversation, change: ConversationChange): Promise<void> {
    checkConversation(conversation);
    return this.#link.mark(conversation, change);
  }

  /** Marks everything in a conversation up to a message as read. */
  markRead(conversation: Conversation, message: Pick<ReceivedMessage, "seq" | "id">): Promise<void> {
    return this.mark(conversation, { read: message.seq, readId: message.id });
  }

  /** Returns who has read a message of a channel. */
  async readers(channel: string, seq: number, limit = 0): Promise<Readers> {
    return expect(await this.#request({ readers: { channel, seq, limit } }), "readers");
  }

  /** Goes into a room, also over later connections, until {@link leaveRoom} or the event `room_left`. */
  async joinRoom(channel: string, data: Uint8Array = new Uint8Array(0)): Promise<JoinedRoom> {
    checkConversation({ channel });
    const { online, answer, recent } = expect(await this.#request({ joinRoom: { channel, data } }), "joinedRoom");
    return { online, answer, recent: this.#messages(recent) };
  }

  /** Goes out of a room. */
  async leaveRoom(channel: string): Promise<void> {
    await this.#request({ leaveRoom: { channel } });
  }

  /** Watches these users and no others; changes come as events. Returns where those are online whom this user may see. */
  async watch(users: readonly string[]): Promise<Presence[]> {
    checkWatch(users);
    for (const user of users) checkConversation({ user });
    return expect(await this.#request({ watch: { users: [...users] } }), "presences").presences;
  }

  /**
   * Tells other devices something for the moment, such as that somebody types. It is sent once and kept nowhere. Resolves to
   * `false` if it goes nowhere: there is no connection, or it is larger than 4096 bytes.
   */
  signal(to: Conversation, body: Pick<Init<Signal>, "typing" | "call" | "custom">, device?: Device): Promise<boolean> {
    checkConversation(to);
    return this.#link.signal({ to: to.user, channel: to.channel, device, ...body });
  }

  /** Sends what can be sent within `timeoutMs`, and ends. What could not be sent stays in the store. */
  async close(timeoutMs = 2000): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#stopWaking();
    this.#flushAcks();
    await this.#link.close(timeoutMs);
    await this.#store.close();
    const error = new ImError("closed", "the client was closed before the message was settled: it stays in the store, where there is one");
    for (const waiting of this.#outcomes.values()) waiting.settle({ error });
    this.#outcomes.clear();
    for (const listener of this.#stateListeners) listener();
  }

  #messages(entries: readonly Push[]): ReceivedMessage[] {
    const sendOf = (from: string | undefined, origin: bigint): number | undefined => (from === this.#user ? open(this.#installation, origin) : undefined);
    return entries.flatMap((push) => received(push, undefined, (origin) => sendOf(push.message?.from, origin)) ?? []);
  }

  async #append(to: string, content: Uint8Array): Promise<number> {
    // Another process may have to send it, and cannot know that it was made after the store was restored from a backup.
    const own = this.#state === "connected" ? undefined : (this.#own ??= randomBits());
    const store = this.#store;
    try {
      return await store.append(to, content, own);
    } catch (cause) {
      const error = storeError(cause);
      if (this.#closed || (error.code !== "store" && error.code !== "closed")) throw error;
      // It was opened anew several times by now, unless something else has given it up meanwhile.
      if (this.#store === store) {
        if (!this.#isPersistent) throw error;
        this.#goOnInMemory(error);
      }
      return this.#store.append(to, content);
    }
  }

  #sent(localId: number, to: Conversation): SentMessage {
    const waiting = this.#await(localId);
    return { localId, to, outcome: () => waiting.promise, discard: () => this.discard(localId) };
  }

  #request(question: Question): Promise<Response> {
    const { joinRoom, leaveRoom, watch } = question;
    if (joinRoom) this.#standing.set(`#${joinRoom.channel}`, question);
    if (leaveRoom) this.#standing.delete(`#${leaveRoom.channel}`);
    if (watch) this.#standing.set("watch", question);
    return this.#link.request(question);
  }

  #await(localId: number): Waiting {
    let settle!: (outcome: Outcome) => void;
    const promise = new Promise<Published>((resolve, reject) => {
      settle = (outcome) => ("error" in outcome ? reject(outcome.error) : resolve(outcome.published));
    });
    // Whoever does not ask for the outcome learns of it by an event.
    promise.catch(() => {});
    const waiting = { promise, settle };
    const early = this.#early.get(localId);
    if (early) settle(early);
    else this.#outcomes.set(localId, waiting);
    return waiting;
  }

  #setState(state: ConnectionState): void {
    this.#state = state;
    for (const listener of this.#stateListeners) listener();
  }

  #take(event: ClientEvent): void {
    if (event.type === "stopped" && event.code === CloseCode.Replaced && this.#link instanceof Engine && isShared(this.#store)) {
      // A tab without locks learns from the server that another one has the store: that is no end.
      const tell = (isClaimed: boolean): void => (isClaimed ? this.#queueEvent(event) : this.#goOnInMemory(taken()));
      void this.#store.isClaimed().then(tell, () => tell(true));
      return;
    }
    this.#queueEvent(event);
  }

  #queueEvent(event: ClientEvent): void {
    if (event.type === "connected") this.#user = event.user;
    const position = event.type === "message" ? event.message.position : event.type === "reset" ? event.position : undefined;
    if (event.type === "reset" && event.reason === "left") this.#given.delete(event.position.log);
    else if (position) this.#given.set(position.log, position);
    if (event.type === "sent") this.#settle(event.localId, { published: { messageId: event.messageId, answer: event.answer } });
    if (event.type === "send_failed") this.#settle(event.localId, { error: event.error });
    this.#queue.push(event);
    if (this.#queue.length >= MAX_EVENTS && this.#reading) {
      this.#reading = false;
      queueMicrotask(() => this.#link.setReading(false));
    }
    if (!this.#pumping) this.#pump();
  }

  #settle(localId: number, outcome: Outcome): void {
    const waiting = this.#outcomes.get(localId);
    this.#outcomes.delete(localId);
    if (waiting) return waiting.settle(outcome);
    this.#early.set(localId, outcome);
    if (this.#early.size > MAX_EARLY_OUTCOMES) for (const oldest of this.#early.keys()) return void this.#early.delete(oldest);
  }

  /** Gives events to the listeners, one after the other. */
  #pump(): void {
    if (this.#pumping) return;
    this.#pumping = true;
    let at = 0;
    try {
      while (at < this.#queue.length && this.#listeners.size > 0) {
        const event = this.#queue[at++] as ClientEvent;
        const pending = this.#call(event);
        if (!pending) {
          this.#dealtWith(event);
          continue;
        }
        void pending.then(() => {
          this.#dealtWith(event);
          this.#pumping = false;
          this.#pump();
        });
        this.#pumping = true;
        this.#queue.splice(0, at);
        at = -1;
        break;
      }
    } finally {
      if (at >= 0) {
        this.#queue.splice(0, at);
        this.#pumping = false;
      }
    }
    if (!this.#reading && this.#queue.length <= MAX_EVENTS / 2) {
      this.#reading = true;
      queueMicrotask(() => {
        this.#link.setReading(true);
        this.#link.wake();
      });
    }
  }

  #call(event: ClientEvent): Promise<unknown> | undefined {
    let pending: Promise<void>[] | undefined;
    for (const listener of this.#listeners) {
      try {
        const result = listener(event);
        if (result) (pending ??= []).push(result.catch((error: unknown) => this.#report(error)));
      } catch (error) {
        this.#report(error);
      }
    }
    return pending && Promise.all(pending);
  }

  #report(error: unknown): void {
    if (this.#options.onListenerError) this.#options.onListenerError(error);
    else queueMicrotask(() => { throw error; });
  }

  #dealtWith(event: ClientEvent): void {
    if (this.#options.ack === "manual") return;
    const position = event.type === "message" ? event.message.position : event.type === "reset" && event.reason !== "left" ? event.position : undefined;
    if (!position) return;
    // Many at a time are one acknowledgement for each log.
    if (this.#acks.size === 0) queueMicrotask(() => this.#flushAcks());
    this.#acks.set(position.log, position);
  }

  #flushAcks(): void {
    for (const position of this.#acks.values()) this.#link.ack(position);
    this.#acks.clear();
  }
}

const taken = (): ImError => new ImError("closed", "another tab has the store, since this platform has no Web Locks, by which tabs share one");

function checkConversation(to: Conversation): void {
  if (!isConversation(to)) {
    throw new ImError("invalid", `${JSON.stringify(to)} names no conversation: give a user or a channel, 1 to 64 printable ASCII characters without braces`);
  }
}

function place(of: Conversation | "inbox"): { inbox: true } | { user: string } | { channel: string } {
  if (of === "inbox") return { inbox: true };
  checkConversation(of);
  return of.user === undefined ? { channel: of.channel } : { user: of.user };
}

function expect<K extends keyof Response>(response: Response, kind: K): NonNullable<Response[K]> {
  const value = response[kind];
  if (value === undefined) throw new ImError("unexpected", `the back end answered something else than ${kind}: is it older than this client?`);
  return value;
}

/** Calls a function when the page or the network is back. Returns how to stop. */
function onWake(wake: () => void): () => void {
  const page = globalThis as Partial<Pick<Window & typeof globalThis, "document" | "addEventListener" | "removeEventListener">>;
  if (!page.addEventListener || !page.removeEventListener) return () => {};
  const visible = (): void => {
    if (page.document?.visibilityState !== "hidden") wake();
  };
  const targets: [EventTarget | undefined, string, () => void][] = [
    [globalThis, "online", wake],
    [globalThis, "pageshow", wake],
    [page.document, "visibilitychange", visible],
    [page.document, "resume", wake],
  ];
  for (const [target, type, listener] of targets) target?.addEventListener(type, listener);
  return () => targets.forEach(([target, type, listener]) => target?.removeEventListener(type, listener));
}

