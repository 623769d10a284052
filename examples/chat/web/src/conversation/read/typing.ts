import type { Client, ClientEvent, Conversation } from "@im-sdk/client";
import { useCallback, useMemo, useSyncExternalStore } from "react";
import { keyOf } from "../key";

const TELL_EVERY_MS = 4000;
/** Twice as long as the others tell it. */
const SHOWN_MS = 9000;

/** Tells the others that the user types: once in a while, and once when it ends. */
export class TypingTeller {
  #toldAt = -Infinity;

  constructor(
    private readonly client: Pick<Client, "signal">,
    private readonly conversation: Conversation,
    private readonly now: () => number = Date.now,
  ) {}

  typed(): void {
    if (this.now() - this.#toldAt < TELL_EVERY_MS) return;
    this.#toldAt = this.now();
    void this.client.signal(this.conversation, { typing: { stopped: false } });
  }

  stopped(): void {
    if (this.#toldAt === -Infinity) return;
    this.#toldAt = -Infinity;
    void this.client.signal(this.conversation, { typing: { stopped: true } });
  }
}

/** Who types in a conversation. */
class TypingStore {
  #users: readonly string[] = [];
  readonly #timers = new Map<string, ReturnType<typeof setTimeout>>();
  #listeners = new Set<() => void>();

  constructor(
    private readonly client: Client,
    private readonly conversation: Conversation,
  ) {}

  readonly subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    const stop = this.client.subscribe((event) => this.#take(event));
    return () => {
      stop();
      this.#listeners.delete(listener);
      for (const user of [...this.#users]) this.#end(user);
    };
  };

  readonly users = (): readonly string[] => this.#users;

  #take(event: ClientEvent): void {
    if (event.type === "message" && !event.message.content.change && event.message.from !== undefined) return this.#end(event.message.from);
    if (event.type !== "signal" || !event.signal.typing) return;
    const { from, channel, typing } = event.signal;
    const { user, channel: group = "" } = this.conversation;
    if (from === this.client.user || channel !== group || (user !== undefined && from !== user)) return;
    this.#end(from);
    if (typing.stopped) return;
    this.#timers.set(from, setTimeout(() => this.#end(from), SHOWN_MS));
    this.#set([...this.#users, from]);
  }

  #end(user: string): void {
    clearTimeout(this.#timers.get(user));
    if (!this.#timers.delete(user)) return;
    this.#set(this.#users.filter((other) => other !== user));
  }

  #set(users: readonly string[]): void {
    this.#users = users;
    for (const listener of this.#listeners) listener();
  }
}

/** Returns who types in a conversation. */
export function useTyping(client: Client, conversation: Conversation): readonly string[] {
  const key = keyOf(conversation);
  const store = useMemo(() => new TypingStore(client, conversation), [client, key]);
  return useSyncExternalStore(useCallback((listener) => store.subscribe(listener), [store]), store.users);
}
