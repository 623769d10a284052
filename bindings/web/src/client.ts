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

/** A message's content as the application writes it. Omitted fields have their defaults. */
export type ContentInit = Init<Content>;

/** Settings of {@link Client.open}. */
export interface ClientOptions {
  /** WebSocket URLs, such as `wss://im.example.com/im`, or a function that returns them. */
  readonly endpoints: readonly string[] | (() => Promise<readonly string[]> | readonly string[]);
  /** Returns a token of the user, usually from the application's back end. */
  readonly token: TokenProvider;
  /** Keeps the state of the device that must not be lost. By default it is in memory, and a reload loses it. */
  readonly store?: Store;
  /** The kind of device; by default a browser. */
  readonly terminal?: Terminal;
  /** The device's id; by default a random one that is created with the store. */
  readonly device?: string;
  /** Opens sockets; by default with the platform's `WebSocket`. */
  readonly socket?: SocketFactory;
  /** Name and version of the application, for operators. */
  readonly name?: string;
  /**
   * `auto`: an event that all listeners have processed is acknowledged. `manual`: the application calls {@link Client.ack}, once
   * its own database has the message.
   */
  readonly ack?: "auto" | "manual";
  /**
   * Lets the tabs of a browser share one connection; `false` turns that off. By default they do if the store is an
   * `IndexedDbStore` and the platform has Web Locks and BroadcastChannel. Without those, the tab that was opened last has the
   * store, and the others continue in memory, each as a device of its own.
   */
  readonly tabs?: TabsPlatform | false;
  /** Time limit of a request in milliseconds; by default 15 s. */
  readonly requestTimeoutMs?: number;
  /** Called with the error of a listener; by default it is reported as an uncaught error. */
  readonly onListenerError?: (error: unknown) => void;
}

/** Receives events. The next event follows once the promise has resolved. */
export type Listener = (event: ClientEvent) => void | Promise<void>;

/** A send that is in the store: it is sent even if this process ends. */
export interface SentMessage {
  /** The number of the send in its store. */
  readonly localId: number;
  readonly to: Conversation;
  /**
   * Resolves when the back end has accepted the message.
   *
   * @throws {@link ImError} with the code `refused`, `unconfirmed` or `discarded`, or `closed` if this client is closed first.
   */
  outcome(): Promise<Published>;
  /** Cancels the send. Returns `false` if the message may have arrived already. */
  discard(): Promise<boolean>;
}

/** A send that is not settled, or that failed. */
export interface QueuedMessage {
  readonly localId: number;
  readonly to: Conversation;
  readonly content: Content;
  readonly state: SendState;
  /** The error of a failed send. */
  readonly error?: ImError | undefined;
}

/** The back end's answer to a message. */
export interface Published {
  /** The id of the message; 0 if the back end handled it without sending a message. */
  readonly messageId: MessageId;
  /** The application's own answer, often empty. */
  readonly answer: Uint8Array;
}

/** The part of a history to read. Of several positions, the first in this order counts. */
export interface HistoryQuery {
  /** Entries before this position, the highest ones. Without any position, the newest entries. */
  readonly before?: number;
  readonly beforeId?: MessageId;
  /** Entries after this position, the lowest ones; 0 for the beginning. */
  readonly after?: number;
  readonly afterId?: MessageId;
  readonly limit?: number;
  /** Only messages that were sent at this time or later, in milliseconds since the Unix epoch. */
  readonly sinceMs?: number;
  /** Only messages that were sent before this time. */
  readonly untilMs?: number;
  readonly kinds?: readonly Init<ContentKind>[];
  /** Returns the log's entries, including changes, instead of messages with their changes applied. */
  readonly raw?: boolean;
}

/** A page of a history, in the order of the log. */
export interface HistoryPage {
  readonly messages: readonly ReceivedMessage[];
  /** Reactions and pins of the messages. */
  readonly changes: readonly ReceivedMessage[];
  /** Set if there are further messages in the requested direction: request them with `before` or `after` set to `next`. */
  readonly more: boolean;
  readonly next: number;
}

/** A search. */
export interface SearchQuery {
  /** Words, separated by white space. */
  readonly text: string;
  /** Only in this conversation; by default in the inbox and in all channels of the user. */
  readonly conversation?: Conversation | "inbox";
  readonly from?: string;
  readonly kinds?: readonly Init<ContentKind>[];
  readonly sinceMs?: number;
  readonly untilMs?: number;
  /** `next` of the previous page. */
  readonly before?: Cursor;
  readonly limit?: number;
}

/** The messages found, newest first. */
export interface FoundPage {
  readonly messages: readonly ReceivedMessage[];
  /** The start of the next page; `undefined` on the last page. */
  readonly next?: Cursor | undefined;
}

/** A room that the device is in. */
export interface JoinedRoom {
  /** The approximate number of devices in the room. */
  readonly online: number;
  readonly answer: Uint8Array;
  /** The last messages. */
  readonly recent: readonly ReceivedMessage[];
}

const MAX_EVENTS = 10_000;
const MAX_EARLY_OUTCOMES = 256;
const VERSION = "0.1.0";

/** The first local id of sends in memory. No store reaches it. */
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
  /** Outcomes of sends that settled before their handle existed. */
  readonly #early = new Map<number, Outcome>();
  /** Positions that listeners have processed and that are not acknowledged yet. */
  readonly #acks = new Map<LogName, Position>();
  readonly #stateListeners = new Set<() => void>();
  /** The last position received of each log. */
  readonly #given = new Map<LogName, Position>();
  /** Standing requests of the application: rooms and watched users. */
  readonly #standing = new Map<string, Question>();
  #installation: bigint;
  /** The installation of sends that this process makes without a connection; created once. */
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
    // A new store has not sent anything yet.
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
   * Opens the store and starts to connect. Events wait until {@link subscribe} or {@link events} takes them.
   *
   * @throws {@link ImError} if an option is invalid or the store cannot be read.
   */
  static async open(options: ClientOptions): Promise<Client> {
    const given = globalThis as { WebSocket?: unknown };
    const socket = options.socket ?? (given.WebSocket ? webSocket(given.WebSocket as WebSocketClass) : undefined);
    if (!socket) throw new ImError("invalid", "this platform has no WebSocket: give one as the option `socket`, such as webSocket(WebSocket) of the package ws");
    const store = options.store ?? new MemoryStore();
    const platform = options.tabs === false ? undefined : (options.tabs ?? platformTabs());
    const shared = isShared(store) ? store : undefined;
    const saved = await (async () => {
      // Without locks the last tab has the store, and takes over the unsent messages of the others.
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

  /** Returns handlers for the current link. They ignore its calls once another link has replaced it. */
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

  /** Replaces an unusable store by one in memory. */
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

  /** The state of the connection. */
  get state(): ConnectionState {
    return this.#state;
  }

  /** The user; empty before the first connection of a new store. */
  get user(): string {
    return this.#user;
  }

  /** Returns `true` if sends survive this page: not with a `MemoryStore`, and not after the event `store_lost`. */
  get isPersistent(): boolean {
    return this.#isPersistent;
  }

  /** This device. */
  get device(): Device {
    return this.#device;
  }

  /** Connects at once, even if the server has forbidden it or the client waits for its next attempt. */
  connect(): void {
    this.#link.connect();
  }

  /**
   * Disconnects all tabs that share the connection, and stays disconnected until {@link connect} is called or another tab is
   * opened. Messages that are sent meanwhile wait in the store.
   */
  disconnect(): void {
    this.#link.disconnect();
  }

  /**
   * Tells the client that the network may have changed or the device was asleep. Browsers report that themselves; elsewhere the
   * application does.
   */
  wake(): void {
    this.#link.wake();
  }

  /** Calls a function with every event from now on, after those that were not taken yet. Returns a function that ends that. */
  subscribe(listener: Listener): () => void {
    this.#listeners.add(listener);
    queueMicrotask(() => this.#pump());
    return () => this.#listeners.delete(listener);
  }

  /** Returns the events one by one. An event counts as processed when the next one is requested. */
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

  /** Calls a function whenever {@link state} or {@link user} has changed. Returns a function that ends that. */
  onState(listener: () => void): () => void {
    this.#stateListeners.add(listener);
    return () => this.#stateListeners.delete(listener);
  }

  /**
   * Sends a message to a user or a channel. When the promise resolves, the message is in the store: it is sent as soon as there
   * is a connection, in order, and has one effect however often it is tried.
   *
   * @throws {@link ImError} with the code `invalid`, `too_large`, `queue_full`, `store` or `closed`: the message will not be
   * sent.
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
   * Sends a failed message again, as a new message at the end of its conversation, and forgets the failed one. Returns
   * `undefined` if no failed message has this local id. A message that is retried, restored from a backup and retried again
   * arrives once.
   *
   * @throws {@link ImError} with the code `store` or `closed`: the message stays failed.
   */
  async retry(localId: number): Promise<SentMessage | undefined> {
    if (this.#closed) throw new ImError("closed", "the message was not taken: the client is closed");
    const retry = await this.#link.retry(localId).catch((error: unknown) => {
      throw storeError(error);
    });
    return retry && this.#sent(retry.localId, conversationOf(retry.to));
  }

  /** Forgets a send that is waiting or failed. Returns `false` if it may have arrived already, or is unknown. */
  discard(localId: number): Promise<boolean> {
    return this.#link.discard(localId);
  }

  /** Returns the unsettled and the failed sends, in order. */
  async queued(): Promise<QueuedMessage[]> {
    const queued = await this.#link.queued();
    return queued.map(({ to, content, ...rest }) => ({ ...rest, to: conversationOf(to), content: decode("Content", content) }));
  }

  /** Acknowledges everything in a log up to this position, with `ack: "manual"`. */
  ack(position: Position): void {
    this.#link.ack(position);
  }

  /** Returns a page of the history of a conversation, or of the whole inbox. */
  async history(of: Conversation | "inbox", query: HistoryQuery = {}): Promise<HistoryPage> {
    const { raw = false, before, beforeId, after, afterId, limit, sinceMs, untilMs, kinds } = query;
    const history = { ...place(of), before, beforeId, after, afterId, limit, sinceMs, untilMs, kinds: [...(kinds ?? [])], messages: !raw };
    const page = expect(await this.#request({ history }), "history");
    const next = page.next || (before !== undefined || after === undefined ? page.entries[0]?.seq : page.entries.at(-1)?.seq) || 0;
    return { messages: this.#messages(page.entries), changes: this.#messages(page.changes), more: page.more, next };
  }

  /** Searches the messages that the back end has archived. */
  async search(query: SearchQuery): Promise<FoundPage> {
    const { conversation, kinds, before, ...rest } = query;
    const search = { ...rest, ...(conversation ? place(conversation) : {}), kinds: [...(kinds ?? [])], before };
    const found = expect(await this.#request({ search }), "found");
    return { messages: this.#messages(found.entries), next: found.next };
  }

  /** Returns a page of the list of conversations. From then on, changes to it arrive as events. */
  async conversations(page: { readonly limit?: number; readonly skip?: number } = {}): Promise<Conversations> {
    return expect(await this.#request({ conversations: page }), "conversations");
  }

  /** Loads all pages into a list. From then on the list is up to date as long as it gets all events. */
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
   * Changes a conversation for all devices of the user: read mark, pinned, muted, draft. When the promise resolves, the change is
   * in the store.
   */
  mark(conversation: Conversation, change: ConversationChange): Promise<void> {
    checkConversation(conversation);
    return this.#link.mark(conversation, change);
  }

  /** Marks everything in a conversation up to a message as read. */
  markRead(conversation: Conversation, message: Pick<ReceivedMessage, "seq" | "id">): Promise<void> {
    return this.mark(conversation, { read: message.seq, readId: message.id });
  }

  /** Returns the users who have read a message of a channel. */
  async readers(channel: string, seq: number, limit = 0): Promise<Readers> {
    return expect(await this.#request({ readers: { channel, seq, limit } }), "readers");
  }

  /** Joins a room. The device stays in it over later connections, until {@link leaveRoom} or the event `room_left`. */
  async joinRoom(channel: string, data: Uint8Array = new Uint8Array(0)): Promise<JoinedRoom> {
    checkConversation({ channel });
    const { online, answer, recent } = expect(await this.#request({ joinRoom: { channel, data } }), "joinedRoom");
    return { online, answer, recent: this.#messages(recent) };
  }

  /** Leaves a room. */
  async leaveRoom(channel: string): Promise<void> {
    await this.#request({ leaveRoom: { channel } });
  }

  /** Watches these users and no others; changes arrive as events. Returns the presence of those whom this user may see. */
  async watch(users: readonly string[]): Promise<Presence[]> {
    checkWatch(users);
    for (const user of users) checkConversation({ user });
    return expect(await this.#request({ watch: { users: [...users] } }), "presences").presences;
  }

  /**
   * Sends a signal to other devices, such as that the user is typing. It is sent once and not stored. Resolves to `false` if it
   * is not sent: there is no connection, or the signal is larger than 4096 bytes.
   */
  signal(to: Conversation, body: Pick<Init<Signal>, "typing" | "call" | "custom">, device?: Device): Promise<boolean> {
    checkConversation(to);
    return this.#link.signal({ to: to.user, channel: to.channel, device, ...body });
  }

  /** Sends what can be sent within `timeoutMs`, and closes the client. The rest stays in the store. */
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
      // The store was reopened several times by now. Gives it up, unless that has happened meanwhile.
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
    // Callers that do not await the outcome learn of it by an event.
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
      // Without locks, a tab learns from the server that another one has the store, which does not stop the
      // client.
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

  /** Passes events to the listeners, one after the other. */
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
    // One acknowledgement per log for many events.
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

/** Calls a function when the page is visible or the network is back. Returns a function that ends that. */
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

