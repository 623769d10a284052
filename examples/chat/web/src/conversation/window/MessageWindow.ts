import type { Client, ClientEvent, ContentInit, Conversation, HistoryPage, HistoryQuery, MessageId, QueuedMessage, ReceivedMessage } from "@im-sdk/client";
import { isIn } from "../key";
import { Entries, type MessageView, type Side } from "./entries";
import { Outbox } from "./Outbox";
import { withQueued } from "./queued";

/** What a conversation shows. */
export interface WindowView {
  readonly messages: readonly MessageView[];
  /** Own messages that are not settled, or that failed. */
  readonly pending: readonly QueuedMessage[];
  /** Set once the first page has come. */
  readonly isReady: boolean;
  readonly hasOlder: boolean;
  /** Set if the newest messages are not among those that are loaded. */
  readonly hasNewer: boolean;
  readonly loading: ReadonlySet<Side>;
  readonly error: Error | undefined;
}

/** Where to look in a conversation. */
export type Place = { readonly seq: number } | { readonly id: MessageId };

const PAGE = 50;
/** Messages that are kept; those far from the reader are dropped beyond it. */
const MOST = 600;
/** Pages may be empty though there are more, where the user has deleted many messages. */
const MOST_EMPTY_PAGES = 20;

/**
 * A part of a conversation that can begin anywhere and grows in both directions, kept up to date by events. For
 * `useSyncExternalStore`.
 */
export class MessageWindow {
  #entries: Entries;
  readonly #outbox: Outbox;
  #before: number | undefined;
  #after: number | undefined;
  #isReady = false;
  #hasOlder = false;
  #hasNewer = false;
  #loading: ReadonlySet<Side> = new Set();
  #error: Error | undefined;
  /** Messages that came while the end of the window was being loaded. */
  #arrived: ReceivedMessage[] = [];
  #isFollowing = true;
  #failed: (() => Promise<unknown>) | undefined;
  readonly #listeners = new Set<() => void>();
  #snapshot: WindowView | undefined;
  #stop: (() => void) | undefined;

  constructor(
    readonly client: Pick<Client, "user" | "history" | "queued" | "subscribe">,
    readonly conversation: Conversation,
    readonly first?: Place,
  ) {
    this.#entries = new Entries(client.user);
    this.#outbox = new Outbox(client, conversation);
  }

  readonly subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    this.#stop ??= this.#start();
    return () => {
      this.#listeners.delete(listener);
      // A component that is mounted again at once goes on with the same window.
      queueMicrotask(() => {
        if (this.#listeners.size > 0) return;
        this.#stop?.();
        this.#stop = undefined;
      });
    };
  };

  readonly getSnapshot = (): WindowView => (this.#snapshot ??= this.#look());

  get(id: MessageId): MessageView | undefined {
    return this.#entries.get(id);
  }

  isRead(message: MessageId, peerRead: MessageId): boolean {
    return this.#entries.isRead(message, peerRead);
  }

  /** Says whether the reader stands at the end, where new messages push out old ones. */
  setFollowing(isFollowing: boolean): void {
    this.#isFollowing = isFollowing;
  }

  readonly loadOlder = (): Promise<void> => this.#extend("older");
  readonly loadNewer = (): Promise<void> => this.#extend("newer");

  /** Shows the newest messages. */
  async toNewest(): Promise<void> {
    if (!this.#hasNewer && this.#isReady) return;
    await this.#replace(async () => [await this.#page({ limit: PAGE }), undefined]);
  }

  /** Shows the messages around a place. Returns the message there, or the next one if it is gone. */
  async jump(place: Place): Promise<MessageView | undefined> {
    const known = this.#find(place);
    if (known) return known;
    await this.#replace(async () => {
      if ("seq" in place) return Promise.all([this.#page({ before: place.seq + 1, limit: PAGE }), this.#page({ after: place.seq, limit: PAGE })]);
      const older = await this.#page({ beforeId: place.id, limit: PAGE });
      return [older, await this.#page({ after: older.messages.at(-1)?.seq ?? 0, limit: PAGE })];
    });
    return this.#find(place) ?? this.#nearest(place);
  }

  /** Repeats what failed. */
  readonly retry = (): void => void this.#failed?.();

  /** Shows a message that was just sent. */
  sent(localId: number, content: ContentInit): void {
    this.#outbox.add(localId, content);
    void this.refresh();
    this.#changed();
  }

  /** Reads the outbox again; call it after a change was sent. */
  readonly refresh = async (): Promise<void> => {
    if (await this.#outbox.load()) this.#changed();
  };

  #start(): () => void {
    // What came without a subscriber was missed.
    void this.refresh();
    if (this.first && !this.#isReady) void this.jump(this.first);
    else void this.#restart();
    return this.client.subscribe((event) => this.#take(event));
  }

  #look(): WindowView {
    const all = this.#entries.messages();
    const messages = withQueued(all, this.#outbox.queued, this.client.user);
    const pending = this.#outbox.pending(new Set(all.map(({ key }) => key)));
    return { messages, pending, isReady: this.#isReady, hasOlder: this.#hasOlder, hasNewer: this.#hasNewer, loading: this.#loading, error: this.#error };
  }

  #changed(): void {
    this.#snapshot = undefined;
    for (const listener of this.#listeners) listener();
  }

  #find(place: Place): MessageView | undefined {
    if ("id" in place) return this.#entries.get(place.id);
    return this.#entries.messages().find(({ seq }) => seq === place.seq);
  }

  #nearest(place: Place): MessageView | undefined {
    return this.#entries.messages().find(({ seq, id }) => ("id" in place ? id >= place.id : seq >= place.seq)) ?? this.#entries.messages().at(-1);
  }

  /** Loads again what is shown, as what is known of the log does not lead on. */
  async #restart(): Promise<void> {
    const all = this.#entries.messages();
    const middle = all[Math.floor(all.length / 2)];
    if (!this.#hasNewer || !middle) await this.#replace(async () => [await this.#page({ limit: PAGE }), undefined]);
    else await this.#replace(() => Promise.all([this.#page({ before: middle.seq + 1, limit: PAGE }), this.#page({ after: middle.seq, limit: PAGE })]));
  }

  /** Replaces the window by pages before and after a place; without the latter it reaches to the end. */
  async #replace(load: () => Promise<[HistoryPage, HistoryPage | undefined]>): Promise<void> {
    const entries = (this.#entries = this.#isReady ? this.#entries : new Entries(this.client.user));
    this.#arrived = [];
    this.#setLoading(["older", "newer"]);
    try {
      const [older, newer] = await load();
      if (entries !== this.#entries) return;
      this.#entries = new Entries(this.client.user);
      for (const page of [older, newer]) if (page) this.#entries.apply([...page.messages, ...page.changes]);
      this.#before = older.next;
      this.#after = newer?.next || older.messages.at(-1)?.seq || 0;
      this.#hasOlder = older.more;
      this.#hasNewer = newer?.more ?? false;
      this.#isReady = true;
      this.#settle(undefined);
    } catch (error) {
      if (entries === this.#entries) this.#settle(error as Error, () => this.#replace(load));
    }
  }

  async #extend(side: Side): Promise<void> {
    const has = side === "older" ? this.#hasOlder : this.#hasNewer;
    if (!has || !this.#isReady || this.#loading.size > 0) return;
    const entries = this.#entries;
    if (side === "newer") this.#arrived = [];
    this.#setLoading([side]);
    try {
      const page = await this.#page(side === "older" ? { before: this.#before ?? 0, limit: PAGE } : { after: this.#after ?? 0, limit: PAGE });
      if (entries !== this.#entries) return;
      entries.apply([...page.messages, ...page.changes]);
      if (side === "older") [this.#before, this.#hasOlder] = [page.next, page.more];
      else [this.#after, this.#hasNewer] = [page.next, page.more];
      this.#trim(side === "older" ? "newer" : "older");
      this.#settle(undefined);
    } catch (error) {
      if (entries === this.#entries) this.#settle(error as Error, () => this.#extend(side));
    }
  }

  /** Asks for a page that has messages, if there are any. */
  async #page(query: HistoryQuery): Promise<HistoryPage> {
    let page = await this.client.history(this.conversation, query);
    const isForward = query.after !== undefined && query.before === undefined && query.beforeId === undefined;
    for (let tries = 0; page.messages.length === 0 && page.more && page.next > 0 && tries < MOST_EMPTY_PAGES; tries++) {
      const next = { limit: query.limit ?? PAGE, ...(isForward ? { after: page.next } : { before: page.next }) };
      page = await this.client.history(this.conversation, next);
    }
    return page;
  }

  #setLoading(sides: Side[]): void {
    this.#loading = new Set(sides);
    this.#error = undefined;
    this.#changed();
  }

  #settle(error: Error | undefined, again?: () => Promise<unknown>): void {
    this.#loading = new Set();
    this.#error = error;
    this.#failed = again;
    if (!error) {
      // Beyond a gap only what changes known messages has a place.
      this.#entries.apply(this.#arrived.filter(({ content }) => content.change ?? !this.#hasNewer));
      this.#arrived = [];
    }
    this.#changed();
  }

  /** Drops messages at one end, where the window goes on by loading. */
  #trim(from: Side): void {
    if (!this.#entries.trim(MOST, from)) return;
    const all = this.#entries.messages();
    if (from === "older") [this.#before, this.#hasOlder] = [all[0]?.seq ?? 0, true];
    else [this.#after, this.#hasNewer] = [all.at(-1)?.seq ?? 0, true];
  }

  #take(event: ClientEvent): void {
    if (event.type === "connected") {
      if (this.#entries.me !== event.user) this.#isReady = false;
      if (!this.#isReady && this.#loading.size === 0) void (this.first ? this.jump(this.first) : this.#restart());
      else if (this.#error) this.retry();
    } else if (event.type === "sent" || event.type === "send_failed") {
      this.#outbox.settle(event.localId, event.type === "sent" && event.messageId !== 0n && !this.#hasNewer);
      void this.refresh();
    } else if (event.type === "reset" && event.position.log === (this.conversation.channel ?? "") && event.reason !== "left") void this.#restart();
    else if (event.type === "message") this.#receive(event.message);
  }

  #receive(message: ReceivedMessage): void {
    const { change } = message.content;
    // A deletion for the user alone is in the user's inbox.
    const isOwnDeletion = change?.deleteForMe !== undefined && this.#entries.has(change.messageId);
    if (!isOwnDeletion && !isIn(this.conversation, message, this.client.user)) return;
    if (message.localId !== undefined) void this.refresh();
    if (change) {
      if (this.#loading.size > 0) this.#arrived.push(message);
      if (this.#entries.apply([message])) this.#changed();
    } else if (this.#loading.has("newer") || !this.#isReady) this.#arrived.push(message);
    else if (!this.#hasNewer) this.#append(message);
  }

  #append(message: ReceivedMessage): void {
    if (!this.#entries.apply([message])) return;
    // A reader further up keeps what is read; the end is loaded again on the way back.
    if (this.#entries.size > MOST + PAGE) this.#trim(this.#isFollowing ? "older" : "newer");
    this.#changed();
  }
}
