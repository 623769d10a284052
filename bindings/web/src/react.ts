/**
 * React hooks over a {@link Client}.
 *
 * ```tsx
 * <ClientProvider client={client}>
 *   <Chat />
 * </ClientProvider>;
 *
 * function Chat() {
 *   const { messages, send } = useMessages({ user: "bob" });
 *   return (
 *     <>
 *       {messages.map((message) => <p key={String(message.id)}>{message.content?.text?.text}</p>)}
 *       <button onClick={() => send("hello")}>Say hello</button>
 *     </>
 *   );
 * }
 * ```
 *
 * @packageDocumentation
 */
import { createContext, createElement, useCallback, useContext, useEffect, useMemo, useSyncExternalStore, type ReactNode } from "react";
import type { Client, ContentInit, QueuedMessage, SentMessage } from "./client.js";
import { ConversationList, type ListedConversation, type Unread } from "./conversations.js";
import type { ClientEvent, ConnectionState, ReceivedMessage } from "./events.js";
import { conversationOf, keyOf, type Conversation, type MessageId } from "./ids.js";
import type { Content, Presence } from "./proto.js";
import { Timeline, type ReactionGroup, type Recalled, type ShownMessage } from "./timeline.js";

/** A message with its changes applied; a new object whenever it looks different. */
export interface MessageView {
  readonly id: MessageId;
  readonly from: string | undefined;
  readonly seq: number | undefined;
  /** The content; `undefined` if the message was recalled or deleted. */
  readonly content: Content | undefined;
  readonly isEdited: boolean;
  readonly isPinned: boolean;
  readonly isDeleted: boolean;
  readonly recalled: Recalled | undefined;
  readonly reactions: readonly ReactionGroup[];
}

/** The result of {@link useMessages}. */
export interface MessagesView {
  /** In the order of the log. */
  readonly messages: readonly MessageView[];
  /** Own sends that are not settled, or that failed. */
  readonly pending: readonly QueuedMessage[];
  readonly isLoading: boolean;
  /** Set if there are earlier messages: see `loadMore`. */
  readonly hasMore: boolean;
  /** The error of loading the last page. */
  readonly error: Error | undefined;
  readonly loadMore: () => Promise<void>;
  /** Sends into the conversation. The message is in `pending` at once. */
  readonly send: (content: ContentInit | string) => Promise<SentMessage>;
}

/** The result of {@link useConversations}. */
export interface ConversationsView {
  /** Pinned ones first, then by their last messages, newest first. */
  readonly conversations: readonly ListedConversation[];
  readonly unread: Unread;
  readonly isLoading: boolean;
  /** The error of loading the list. It is loaded again with the next connection. */
  readonly error: Error | undefined;
}

const Context = createContext<Client | undefined>(undefined);
const PAGE = 50;

/** Provides a client to the hooks below it. While it is mounted, events are taken. */
export function ClientProvider({ client, children }: { readonly client: Client; readonly children?: ReactNode }): ReactNode {
  useEffect(() => client.subscribe(() => {}), [client]);
  return createElement(Context.Provider, { value: client }, children);
}

/** Returns the client of the nearest {@link ClientProvider}. */
export function useClient(): Client {
  const client = useContext(Context);
  if (!client) throw new Error("there is no client here: put a ClientProvider above the component");
  return client;
}

/** Returns the state of the connection. */
export function useConnection(): ConnectionState {
  const client = useClient();
  const subscribe = useCallback((changed: () => void) => client.onState(changed), [client]);
  return useSyncExternalStore(subscribe, () => client.state, () => client.state);
}

/** State outside of React that components subscribe to. It is active while there is a subscriber. */
abstract class View<T> {
  readonly #listeners = new Set<() => void>();
  #stop: (() => void) | undefined;
  #snapshot: T | undefined;

  constructor(protected readonly client: Client) {}

  readonly subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    this.#stop ??= this.start();
    return () => {
      this.#listeners.delete(listener);
      // A component that is mounted again at once keeps the view active.
      queueMicrotask(() => {
        if (this.#listeners.size > 0) return;
        this.#stop?.();
        this.#stop = undefined;
      });
    };
  };

  readonly getSnapshot = (): T => (this.#snapshot ??= this.look());

  protected changed(): void {
    this.#snapshot = undefined;
    for (const listener of this.#listeners) listener();
  }

  /** Activates the view. Returns a function that ends that. */
  protected abstract start(): () => void;
  protected abstract look(): T;
}

const views = new WeakMap<Client, Map<string, View<unknown>>>();

function viewOf<V extends View<unknown>>(client: Client, key: string, make: () => V): V {
  const known = views.get(client) ?? new Map<string, View<unknown>>();
  views.set(client, known);
  const view = (known.get(key) as V | undefined) ?? make();
  known.set(key, view);
  return view;
}

class ConversationsStore extends View<ConversationsView> {
  #list: ConversationList | undefined;
  #isLoading = false;
  #error: Error | undefined;

  protected start(): () => void {
    // Events without a subscriber were missed.
    this.#list = undefined;
    void this.#load();
    return this.client.subscribe((event) => {
      if (this.#list?.apply(event)) this.changed();
      if (event.type === "connected" || this.#list?.needsLoading) void this.#load();
    });
  }

  protected look(): ConversationsView {
    const list = this.#list;
    return { conversations: list?.conversations() ?? [], unread: list?.unread() ?? { count: 0, more: false }, isLoading: this.#isLoading, error: this.#error };
  }

  async #load(): Promise<void> {
    if (this.#isLoading || this.client.user === "") return;
    this.#list ??= new ConversationList(this.client.user);
    if (!this.#list.needsLoading) return;
    this.#isLoading = true;
    this.changed();
    const error = await this.client.loadConversations(this.#list).then(() => undefined, (failure: unknown) => failure as Error);
    this.#error = error;
    this.#isLoading = false;
    this.changed();
  }
}

class MessagesStore extends View<MessagesView> {
  #timeline = new Timeline(this.client.user);
  readonly #shown = new Map<MessageId, MessageView>();
  #pending: readonly QueuedMessage[] = [];
  #before: number | undefined;
  #hasMore = true;
  #isLoading = false;
  #error: Error | undefined;

  constructor(
    client: Client,
    readonly conversation: Conversation,
  ) {
    super(client);
  }

  protected start(): () => void {
    this.#begin();
    return this.client.subscribe((event) => this.#take(event));
  }

  protected look(): MessagesView {
    const messages = this.#timeline.messages().map((message) => {
      const view = this.#shown.get(message.id) ?? viewMessage(message);
      this.#shown.set(message.id, view);
      return view;
    });
    const { loadMore, send } = this;
    return { messages, pending: this.#pending, isLoading: this.#isLoading, hasMore: this.#hasMore, error: this.#error, loadMore, send };
  }

  readonly loadMore = async (): Promise<void> => {
    if (this.#isLoading || !this.#hasMore) return;
    this.#isLoading = true;
    this.changed();
    const timeline = this.#timeline;
    try {
      const place = this.#before === undefined ? {} : { before: this.#before };
      const page = await this.client.history(this.conversation, { limit: PAGE, ...place });
      if (timeline === this.#timeline) {
        for (const message of [...page.messages, ...page.changes]) this.#apply(message);
        this.#before = page.next;
        this.#hasMore = page.more;
      }
      this.#error = undefined;
    } catch (error) {
      this.#error = error as Error;
    }
    this.#isLoading = false;
    this.changed();
    // A reset arrived meanwhile.
    if (timeline !== this.#timeline) void this.loadMore();
  };

  readonly send = async (content: ContentInit | string): Promise<SentMessage> => {
    const sent = await this.client.send(this.conversation, content);
    await this.#refresh();
    return sent;
  };

  #begin(): void {
    this.#timeline = new Timeline(this.client.user);
    this.#shown.clear();
    this.#before = undefined;
    this.#hasMore = true;
    void this.loadMore();
    void this.#refresh();
  }

  #take(event: ClientEvent): void {
    const { user, channel } = this.conversation;
    if (event.type === "connected") {
      if (this.#timeline.owner !== event.user) this.#begin();
      else if (this.#error) void this.loadMore();
    } else if (event.type === "sent" || event.type === "send_failed") void this.#refresh();
    else if (event.type === "reset" && event.position.log === (channel ?? "") && event.reason !== "left") this.#begin();
    else if (event.type === "message") {
      const { message } = event;
      const peer = message.from === this.client.user ? message.to : message.from;
      // A deletion for the user alone is in the user's inbox.
      const change = message.content.change;
      const isHere = channel === undefined ? message.channel === undefined && peer === user : (message.channel ?? change?.channel) === channel;
      const isOwnDeletion = change?.deleteForMe !== undefined && this.#timeline.get(change.messageId) !== undefined;
      if ((isHere || isOwnDeletion) && this.#apply(message)) this.changed();
    }
  }

  #apply(message: ReceivedMessage): boolean {
    const changed = this.#timeline.apply(message);
    if (changed === undefined) return false;
    // A recall also changes messages that quote it.
    if (message.content.change?.recall ?? message.content.amended?.recalled) this.#shown.clear();
    this.#shown.delete(changed);
    return true;
  }

  async #refresh(): Promise<void> {
    const key = keyOf(this.conversation);
    const queued = await this.client.queued().catch(() => []);
    this.#pending = queued.filter(({ to }) => keyOf(to) === key);
    this.changed();
  }
}

function viewMessage(message: ShownMessage): MessageView {
  const { id, from, seq, content, isEdited, isPinned, isDeleted, recalled, reactions } = message;
  return { id, from, seq, content, isEdited, isPinned, isDeleted, recalled, reactions };
}

class PresenceStore extends View<ReadonlyMap<string, Presence>> {
  #known = new Map<string, Presence>();
  readonly #wanted = new Map<string, number>();
  #isDue = false;

  /** Watches some users until the returned function is called. */
  watch(users: readonly string[]): () => void {
    const count = (by: number): void => {
      for (const user of users) {
        const left = (this.#wanted.get(user) ?? 0) + by;
        if (left > 0) this.#wanted.set(user, left);
        else this.#wanted.delete(user);
      }
      this.#ask();
    };
    count(1);
    return () => count(-1);
  }

  protected start(): () => void {
    return this.client.subscribe((event) => {
      if (event.type === "presence") this.#take([event.presence]);
    });
  }

  protected look(): ReadonlyMap<string, Presence> {
    return this.#known;
  }

  #ask(): void {
    if (this.#isDue) return;
    this.#isDue = true;
    queueMicrotask(() => {
      this.#isDue = false;
      // The client repeats the request with each connection.
      this.client.watch([...this.#wanted.keys()]).then((presences) => this.#take(presences), () => {});
    });
  }

  #take(presences: readonly Presence[]): void {
    this.#known = new Map(this.#known);
    for (const presence of presences) this.#known.set(presence.user, presence);
    for (const user of this.#known.keys()) if (!this.#wanted.has(user)) this.#known.delete(user);
    this.changed();
  }
}

function useView<T>(view: View<T>): T {
  return useSyncExternalStore(view.subscribe, view.getSnapshot, view.getSnapshot);
}

/** Returns the list of conversations with unread counts, kept up to date. */
export function useConversations(): ConversationsView {
  const client = useClient();
  return useView(viewOf(client, "conversations", () => new ConversationsStore(client)));
}

/** Returns the messages of a conversation, the newest page first, kept up to date. */
export function useMessages(conversation: Conversation): MessagesView {
  const client = useClient();
  const key = keyOf(conversation);
  return useView(viewOf(client, key, () => new MessagesStore(client, conversationOf(key))));
}

/** Returns the presence of those users whom this user may see, kept up to date. */
export function usePresence(users: readonly string[]): ReadonlyMap<string, Presence> {
  const client = useClient();
  const store = viewOf(client, "presence", () => new PresenceStore(client));
  const key = users.join(" ");
  useEffect(() => store.watch(key.split(" ").filter(Boolean)), [store, key]);
  const all = useView(store);
  return useMemo(() => new Map([...all].filter(([user]) => key.split(" ").includes(user))), [all, key]);
}
