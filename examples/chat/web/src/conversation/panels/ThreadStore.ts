import type { Client, Conversation, MessageId } from "@im-sdk/client";
import { isIn } from "../key";
import { Entries, type MessageView } from "../window/entries";

export interface ThreadView {
  readonly root: MessageView | undefined;
  readonly replies: readonly MessageView[];
  readonly isLoading: boolean;
  readonly more: boolean;
}

const PAGE = 200;
const PAGES_AT_ONCE = 5;

/** A message and what hangs on it. The history knows no threads: it is read from the message on. */
export class ThreadStore {
  readonly #entries: Entries;
  readonly #listeners = new Set<() => void>();
  #snapshot: ThreadView | undefined;
  #after: number | undefined;
  #isLoading = false;
  #more = true;
  #stop: (() => void) | undefined;

  constructor(
    readonly client: Client,
    readonly conversation: Conversation,
    readonly root: MessageId,
  ) {
    this.#entries = new Entries(client.user);
  }

  readonly subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    this.#stop ??= this.#start();
    return () => {
      this.#listeners.delete(listener);
      if (this.#listeners.size > 0) return;
      this.#stop?.();
      this.#stop = undefined;
    };
  };

  readonly getSnapshot = (): ThreadView => (this.#snapshot ??= this.#look());

  readonly load = async (): Promise<void> => {
    if (this.#isLoading) return;
    this.#isLoading = true;
    this.#changed();
    try {
      if (this.#after === undefined) this.#after = (await this.client.history(this.conversation, { beforeId: this.root, limit: 1 })).messages.at(-1)?.seq ?? 0;
      for (let count = 0; count < PAGES_AT_ONCE && this.#more; count++) {
        const page = await this.client.history(this.conversation, { after: this.#after, limit: PAGE });
        const own = page.messages.filter(({ id, content }) => id === this.root || content.thread === this.root);
        const ids = new Set(own.map(({ id }) => id));
        this.#entries.apply([...own, ...page.changes.filter(({ content }) => ids.has(content.change?.messageId ?? 0n))]);
        this.#more = page.more && page.next > this.#after;
        this.#after = page.next;
      }
    } catch {
      // It can be asked for again.
    }
    this.#isLoading = false;
    this.#changed();
  };

  #start(): () => void {
    void this.load();
    return this.client.subscribe((event) => {
      if (event.type !== "message" || !isIn(this.conversation, event.message, this.client.user)) return;
      const { content } = event.message;
      const isOwn = content.change ? this.#entries.has(content.change.messageId) : content.thread === this.root;
      if (isOwn && this.#entries.apply([event.message])) this.#changed();
    });
  }

  #look(): ThreadView {
    const all = this.#entries.messages();
    return { root: this.#entries.get(this.root), replies: all.filter(({ id }) => id !== this.root), isLoading: this.#isLoading, more: this.#more };
  }

  #changed(): void {
    this.#snapshot = undefined;
    for (const listener of this.#listeners) listener();
  }
}
