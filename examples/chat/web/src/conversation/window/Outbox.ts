import type { Client, Content, ContentInit, Conversation, QueuedMessage } from "@im-sdk/client";
import { isSame } from "../key";

/** What was sent to a conversation and has not come back from it. */
export class Outbox {
  #queued: readonly QueuedMessage[] = [];
  /** Messages that the client does not list yet, or no longer. */
  readonly #echoes = new Map<number, QueuedMessage>();

  constructor(
    private readonly client: Pick<Client, "queued">,
    private readonly conversation: Conversation,
  ) {}

  /** Messages and changes that the client lists. */
  get queued(): readonly QueuedMessage[] {
    return this.#queued;
  }

  /** Adds a message that was just sent. The client lists it only a moment later. */
  add(localId: number, content: ContentInit): void {
    // What is sent here has all the fields that are shown.
    const whole = { thread: 0n, silent: false, ...content } as Content;
    this.#echoes.set(localId, { localId, to: this.conversation, content: whole, state: "pending" });
  }

  /** Takes the outcome of a send. An accepted message leaves the list before it comes back: it stays in view between. */
  settle(localId: number, isComing: boolean): void {
    const queued = this.#queued.find((one) => one.localId === localId);
    if (!isComing) this.#echoes.delete(localId);
    else if (queued && !queued.content.change) this.#echoes.set(localId, queued);
  }

  /** Asks the client for its list. Returns `false` if it could not be read. */
  async load(): Promise<boolean> {
    const queued = await this.client.queued().catch(() => undefined);
    if (queued) this.#queued = queued.filter(({ to }) => isSame(to, this.conversation));
    return queued !== undefined;
  }

  /** Returns the messages that have not come back, in their order. `arrived` has the keys of those that have. */
  pending(arrived: ReadonlySet<string>): readonly QueuedMessage[] {
    for (const localId of this.#echoes.keys()) if (arrived.has(`l${localId}`)) this.#echoes.delete(localId);
    const all = new Map([...this.#echoes.values(), ...this.#queued].map((queued) => [queued.localId, queued]));
    return [...all.values()].filter(({ localId, content }) => !content.change && !arrived.has(`l${localId}`)).sort((one, other) => one.localId - other.localId);
  }
}
