import type { MessageId } from "./ids.js";
import type { ReceivedMessage } from "./events.js";
import type { Content } from "./proto.js";

/** The user and the change that recalled a message. */
export interface Recalled {
  readonly change: MessageId;
  /** The user; `undefined` for the back end. */
  readonly by?: string | undefined;
}

/** A reaction to a message, with its users. */
export interface ReactionGroup {
  readonly emoji: string;
  /** The users; `undefined` stands for the back end. */
  readonly users: readonly (string | undefined)[];
}

interface Rank {
  readonly order: bigint;
  readonly change: MessageId;
}

interface Latest<T> extends Rank {
  readonly value: T;
}

const isOlder = (there: Rank | undefined, rank: Rank): boolean =>
  !there || there.order < rank.order || (there.order === rank.order && there.change < rank.change);

const MAX_REACTIONS_PER_USER = 20;
const MAX_WAITING_CHANGES = 10_000;

/** A message with its changes applied. */
export class ShownMessage {
  /** Its position in its log; `undefined` if unknown. */
  seq: number | undefined;
  /** The channel; `undefined` if it is in the inbox. */
  channel: string | undefined;
  /** The user that sent it; `undefined` for the back end, or if the message has not arrived. */
  from: string | undefined;
  /** @internal */
  hasCome = false;
  recalled: Recalled | undefined;
  /** Set if the user has deleted it for themselves. */
  isDeleted = false;
  #original: Content | undefined;
  #edit: Latest<Content> | undefined;
  #pinned: Latest<boolean> | undefined;
  /** By user, `""` for the back end, and by emoji without variation selectors. */
  readonly #reactions = new Map<string, Map<string, Latest<string | undefined>>>();

  constructor(readonly id: MessageId) {}

  /** The current content; `undefined` if it was recalled or deleted, or has no content that this version knows. */
  get content(): Content | undefined {
    return this.#edit?.value ?? this.#original;
  }

  get isEdited(): boolean {
    return this.#edit !== undefined;
  }

  get isPinned(): boolean {
    return this.#pinned?.value ?? false;
  }

  /** Set if its content must not be shown to anybody, or to this user. */
  get isGone(): boolean {
    return this.recalled !== undefined || this.isDeleted;
  }

  /** The reactions, of each user the newest 20. */
  get reactions(): ReactionGroup[] {
    const groups = new Map<string, { emoji: string; users: (string | undefined)[] }>();
    for (const [user, given] of [...this.#reactions].sort(([one], [other]) => (one < other ? -1 : 1))) {
      const there = [...given].filter(([, { value }]) => value !== undefined).sort(([, one], [, other]) => (isOlder(one, other) ? 1 : -1));
      for (const [key, { value }] of there.slice(0, MAX_REACTIONS_PER_USER)) {
        const emoji = value as string;
        const group = groups.get(key);
        if (group) {
          if (emoji > group.emoji) group.emoji = emoji;
          group.users.push(user || undefined);
        } else groups.set(key, { emoji, users: [user || undefined] });
      }
    }
    return [...groups].sort(([one], [other]) => (one < other ? -1 : 1)).map(([, group]) => group);
  }

  /** The number of changes that wait for it. @internal */
  get waiting(): number {
    if (this.hasCome) return 0;
    let count = [this.#edit, this.recalled, this.isDeleted, this.#pinned].filter(Boolean).length;
    for (const given of this.#reactions.values()) count += given.size;
    return count;
  }

  /** The edit that made its current content. @internal */
  get editRank(): Rank | undefined {
    return this.#edit;
  }

  /** @internal */
  arrive(from: string | undefined, content: Content): boolean {
    const isNew = !this.hasCome;
    if (isNew) {
      this.hasCome = true;
      this.from = from;
    }
    const { amended, ...says } = content;
    let changed = false;
    if (amended?.recalled) changed = this.recall(amended.change, amended.by || undefined);
    else if (amended) changed = this.edit(amended, says);
    else if (isNew && !this.isGone && !this.#edit) this.#original = content;
    return isNew || changed;
  }

  /** @internal */
  recall(change: MessageId, by: string | undefined): boolean {
    if (this.recalled && this.recalled.change <= change) return false;
    this.recalled = { change, by };
    this.#clear();
    return true;
  }

  /** @internal */
  delete(): boolean {
    const isNew = !this.isDeleted;
    this.isDeleted = true;
    this.#clear();
    return isNew;
  }

  /** @internal */
  edit({ order, change }: Rank, content: Content): boolean {
    if (this.isGone || !isOlder(this.#edit, { order, change })) return false;
    this.#edit = { order, change, value: content };
    // The original content is gone.
    this.#original = undefined;
    return true;
  }

  /** @internal */
  pin(rank: Rank, removed: boolean): boolean {
    const before = this.isPinned;
    if (!this.isGone && isOlder(this.#pinned, rank)) this.#pinned = { ...rank, value: !removed };
    return this.isPinned !== before;
  }

  /** @internal */
  react(rank: Rank, user: string, emoji: string, removed: boolean): boolean {
    if (this.isGone) return false;
    const given = this.#reactions.get(user) ?? new Map<string, Latest<string | undefined>>();
    this.#reactions.set(user, given);
    const key = emoji.replace(/[\ufe0e\ufe0f]/g, "");
    const before = given.get(key);
    if (!isOlder(before, rank)) return false;
    // A removed reaction is kept, since an older change may still arrive.
    const value = removed ? undefined : emoji;
    given.set(key, { ...rank, value });
    let forgotten = false;
    if (given.size > 2 * MAX_REACTIONS_PER_USER) {
      const [oldest, latest] = [...given].reduce((one, other) => (isOlder(one[1], other[1]) ? one : other));
      given.delete(oldest);
      forgotten = latest.value !== undefined;
    }
    // Beyond the limit, a reaction that is changed again may become visible.
    return before?.value !== value || forgotten || given.size > MAX_REACTIONS_PER_USER;
  }

  /** @internal */
  hideQuote(of: MessageId): void {
    const says = this.content;
    if (says?.quote?.messageId !== of) return;
    const hidden = { ...says, quote: { ...says.quote, recalled: true, excerpt: "", kind: "" } };
    if (this.#edit) this.#edit = { ...this.#edit, value: hidden };
    else this.#original = hidden;
  }

  /** Deletes contents that must not be shown. */
  #clear(): void {
    this.#original = this.#edit = this.#pinned = undefined;
    this.#reactions.clear();
  }
}

/**
 * The messages of a conversation as changes have left them: whatever comes, in whatever order and however often, all devices
 * that have seen the same show the same. It does no I/O.
 *
 * ```ts
 * const timeline = new Timeline(client.user);
 * client.subscribe((event) => {
 *   if (event.type === "message" && timeline.apply(event.message) !== undefined) redraw(timeline.messages());
 * });
 * ```
 */
export class Timeline {
  readonly #messages = new Map<MessageId, ShownMessage>();
  readonly #quoting = new Map<MessageId, Set<MessageId>>();
  /** Ids of messages that have changes but have not arrived. */
  readonly #awaited = new Set<MessageId>();
  #waiting = 0;
  #horizon = 0n;

  /** `owner` is the user of the device. Messages that a user deletes for themselves are gone for that user alone. */
  constructor(
    readonly owner: string,
    private readonly mostWaiting: number = MAX_WAITING_CHANGES,
  ) {}

  /**
   * Takes a message or a change, from events or from the history, in any order and any number of times. Returns the id of the
   * message that looks different now.
   */
  apply(message: Pick<ReceivedMessage, "id" | "from" | "channel" | "content" | "seq">): MessageId | undefined {
    const { id, from, channel, content, seq } = message;
    const change = content.change;
    if (!change) {
      return this.#update(id, (shown) => {
        if (seq > 0 && shown.seq === undefined) {
          shown.seq = seq;
          shown.channel = channel;
        }
        return shown.arrive(from, content);
      });
    }
    // Another user's deletion, or a change of a newer version.
    const isMine = from === undefined || from === this.owner;
    if (!(change.recall ?? change.edit ?? change.reaction ?? change.pin ?? (isMine ? change.deleteForMe : undefined))) return undefined;
    const rank = { order: change.order, change: id };
    return this.#update(change.messageId, (shown) => {
      if (change.recall) return shown.recall(id, from);
      if (change.edit) return shown.edit(rank, change.edit);
      if (change.deleteForMe) return shown.delete();
      if (change.reaction) return shown.react(rank, from ?? "", change.reaction.emoji, change.reaction.removed);
      return change.pin !== undefined && shown.pin(rank, change.pin.removed);
    });
  }

  /** Returns a message that has come. */
  get(id: MessageId): ShownMessage | undefined {
    const message = this.#messages.get(id);
    return message?.hasCome ? message : undefined;
  }

  /** Returns the state of a message, even if it has not arrived. @internal */
  doneTo(id: MessageId): ShownMessage | undefined {
    return this.#messages.get(id);
  }

  /** Returns the messages that have arrived, including recalled and deleted ones, in the order of their logs. */
  messages(): ShownMessage[] {
    const known = [...this.#messages.values()].filter(({ hasCome }) => hasCome);
    const logs = (message: ShownMessage): string => message.channel ?? "";
    known.sort((one, other) => {
      if (one.seq === undefined || other.seq === undefined) return Number(one.seq !== undefined) - Number(other.seq !== undefined);
      return logs(one) < logs(other) ? -1 : logs(one) > logs(other) ? 1 : one.seq - other.seq;
    });
    // Ids decide between logs and for messages in no log; within a log, positions do.
    const highest = new Map<string, MessageId>();
    const keyed = known.map((message) => {
      let key = message.id;
      if (message.seq !== undefined) {
        const before = highest.get(logs(message)) ?? 0n;
        if (before > key) key = before;
        highest.set(logs(message), key);
      }
      return { key, seq: message.seq ?? 0, message };
    });
    keyed.sort((one, other) => (one.key < other.key ? -1 : one.key > other.key ? 1 : one.seq - other.seq));
    return keyed.map(({ message }) => message);
  }

  /** Returns whether the other user has read a message, given the last one that it has read. */
  isRead(message: MessageId, peerRead: MessageId): boolean {
    const [one, other] = [this.#messages.get(message), this.#messages.get(peerRead)];
    if (one?.seq !== undefined && other?.seq !== undefined && one.channel === other.channel) return one.seq <= other.seq;
    return message <= peerRead;
  }

  /** The number of changes that wait for their messages. */
  get waiting(): number {
    return this.#waiting;
  }

  /** Messages up to this one are not shown any more; 0 if there is no such limit. */
  get horizon(): MessageId {
    return this.#horizon;
  }

  /** Forgets all messages up to one, like a window that scrolls on. */
  forgetThrough(last: MessageId): void {
    if (last > this.#horizon) this.#horizon = last;
    for (const [id, message] of this.#messages) {
      if (id > last) continue;
      this.#waiting -= message.waiting;
      this.#messages.delete(id);
      this.#awaited.delete(id);
    }
    for (const [quoted, quoting] of this.#quoting) {
      for (const id of quoting) if (id <= last) quoting.delete(id);
      if (quoting.size === 0) this.#quoting.delete(quoted);
    }
  }

  #update(id: MessageId, change: (message: ShownMessage) => boolean): MessageId | undefined {
    if (id <= this.#horizon) return undefined;
    let message = this.#messages.get(id);
    if (!message) this.#messages.set(id, (message = new ShownMessage(id)));
    const before = message.waiting;
    const changed = change(message);
    this.#waiting += message.waiting - before;
    if (message.hasCome) this.#awaited.delete(id);
    else this.#awaited.add(id);
    const quoted = message.content?.quote?.messageId;
    if (quoted !== undefined) {
      const quoting = this.#quoting.get(quoted) ?? new Set();
      this.#quoting.set(quoted, quoting.add(id));
      if (this.#messages.get(quoted)?.recalled) message.hideQuote(quoted);
    }
    if (message.recalled && changed) for (const quoting of this.#quoting.get(id) ?? []) this.#messages.get(quoting)?.hideQuote(id);
    while (this.#waiting > this.mostWaiting && this.#awaited.size > 0) {
      this.forgetThrough([...this.#awaited].reduce((one, other) => (one < other ? one : other)));
    }
    return changed && message.hasCome && this.#messages.has(id) ? id : undefined;
  }
}
