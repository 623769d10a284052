import { sentAt, Timeline, type Content, type MessageId, type ReactionGroup, type Recalled, type ReceivedMessage, type ShownMessage } from "@im-sdk/client";

/** A message with its changes applied; a new object whenever it looks different. */
export interface MessageView {
  /** Stays the same when a message that was sent here comes back from the server. */
  readonly key: string;
  readonly id: MessageId;
  /** 0 if it is in no log. */
  readonly seq: number;
  readonly from: string | undefined;
  readonly at: number;
  readonly content: Content | undefined;
  readonly isEdited: boolean;
  readonly isPinned: boolean;
  readonly recalled: Recalled | undefined;
  readonly reactions: readonly ReactionGroup[];
}

/** The side of a window. */
export type Side = "older" | "newer";

/**
 * The entries of a window, from which messages at either end can be dropped. A `Timeline` alone forgets older messages for
 * good, so what stays is kept, and applied to a new one.
 */
export class Entries {
  #timeline: Timeline;
  readonly #messages = new Map<MessageId, ReceivedMessage>();
  #changes: ReceivedMessage[] = [];
  readonly #views = new Map<MessageId, MessageView>();
  #sorted: readonly MessageView[] | undefined;

  constructor(readonly me: string) {
    this.#timeline = new Timeline(me);
  }

  get size(): number {
    return this.#messages.size;
  }

  has(id: MessageId): boolean {
    return this.#messages.has(id);
  }

  /** Takes messages and changes, in any order. Returns whether something looks different. */
  apply(entries: readonly ReceivedMessage[]): boolean {
    let isChanged = false;
    for (const entry of entries) {
      if (entry.content.change) this.#changes.push(entry);
      // A later page may show the message with more changes applied: the timeline merges both.
      else this.#messages.set(entry.id, preferred(this.#messages.get(entry.id), entry));
      const changed = this.#timeline.apply(entry);
      if (changed === undefined) continue;
      // A recall also changes the messages that quote the recalled one.
      if (entry.content.change?.recall ?? entry.content.amended?.recalled) this.#views.clear();
      this.#views.delete(changed);
      isChanged = true;
    }
    if (isChanged) this.#sorted = undefined;
    return isChanged;
  }

  /** Returns the messages in order, without those that the user has deleted. */
  messages(): readonly MessageView[] {
    return (this.#sorted ??= this.#timeline.messages().filter(({ isDeleted }) => !isDeleted).map((shown) => this.#view(shown)));
  }

  get(id: MessageId): MessageView | undefined {
    const shown = this.#timeline.get(id);
    return shown && !shown.isDeleted ? this.#view(shown) : undefined;
  }

  isRead(message: MessageId, peerRead: MessageId): boolean {
    return this.#timeline.isRead(message, peerRead);
  }

  /** Keeps `most` messages, and drops the others from one end. Returns whether there were others. */
  trim(most: number, from: Side): boolean {
    const all = this.#timeline.messages();
    if (all.length <= most) return false;
    const kept = from === "older" ? all.slice(-most) : all.slice(0, most);
    const ids = new Set(kept.map(({ id }) => id));
    for (const id of this.#messages.keys()) if (!ids.has(id)) this.#messages.delete(id);
    const quoted = new Set(kept.map(({ content }) => content?.quote?.messageId));
    this.#changes = this.#changes.filter(({ content: { change } }) => change && (ids.has(change.messageId) || quoted.has(change.messageId)));
    for (const id of this.#views.keys()) if (!ids.has(id)) this.#views.delete(id);
    this.#timeline = new Timeline(this.me);
    for (const entry of [...this.#messages.values(), ...this.#changes]) this.#timeline.apply(entry);
    this.#sorted = undefined;
    return true;
  }

  #view(shown: ShownMessage): MessageView {
    const known = this.#views.get(shown.id);
    if (known) return known;
    const { id, from, seq = 0, content, isEdited, isPinned, recalled, reactions } = shown;
    const localId = this.#messages.get(id)?.localId;
    const key = localId === undefined ? `m${id}` : `l${localId}`;
    const view = { key, id, seq, from, at: sentAt(id), content, isEdited, isPinned, recalled, reactions };
    this.#views.set(id, view);
    return view;
  }
}

/** Keeps the entry that says more: where it stands, and what has become of it. */
function preferred(known: ReceivedMessage | undefined, entry: ReceivedMessage): ReceivedMessage {
  if (!known) return entry;
  const isNewer = (entry.content.amended?.order ?? -1n) >= (known.content.amended?.order ?? -1n) || entry.content.amended?.recalled;
  return { ...(isNewer ? entry : known), seq: known.seq || entry.seq, localId: known.localId ?? entry.localId };
}
