import { create } from "./codec.js";
import { received } from "./core/core.js";
import type { ClientEvent, ReceivedMessage } from "./events.js";
import { conversationOf, keyOf, type Conversation, type LogName, type MessageId } from "./ids.js";
import type { Content, Conversation as ListedPage, Conversations, ConversationState } from "./proto.js";
import { Timeline, type Recalled, type ShownMessage } from "./timeline.js";

/** A conversation as the list shows it. */
export interface ListedConversation {
  readonly conversation: Conversation;
  /** The user's settings and read marks in it. */
  readonly state: ConversationState;
  /** The last message with its changes applied; without content if it was recalled. */
  readonly last?: ReceivedMessage | undefined;
  readonly lastRecalled?: Recalled | undefined;
  /** Unread messages of others, counted up to 999. */
  readonly unread: number;
  /** Set if the actual number may be higher. */
  readonly unreadMore: boolean;
  /** The number of unread messages that mention the user. */
  readonly mentions: number;
}

/** A number of unread messages. */
export interface Unread {
  readonly count: number;
  /** Set if the actual number may be higher. */
  readonly more: boolean;
}

interface Recent {
  readonly log: LogName;
  readonly seq: number;
  /** The conversation; `undefined` if it belongs to none. */
  readonly key: string | undefined;
  readonly message: ReceivedMessage;
}

interface Rank {
  readonly order: bigint;
  readonly change: MessageId;
}

const MAX_UNREAD = 999;
const LISTED = 100;
/** Number of recent entries that are kept, for a page that was made before they arrived. */
const MAX_RECENT = 1024;

const readTo = (state: ConversationState): number => Math.max(state.read, shownFrom(state));
const shownFrom = (state: ConversationState): number => Math.max(state.deleted, state.joined);
const shows = (state: ConversationState, seq: number): boolean => seq > shownFrom(state) && (state.closed === undefined || seq <= state.closed);
const isMuted = (state: ConversationState, nowMs: number): boolean => state.muted && (state.mutedUntilMs === 0 || nowMs < state.mutedUntilMs);
const mentionsUser = (content: Content, user: string): boolean => content.mentions !== undefined && (content.mentions.everybody || content.mentions.users.includes(user));
const alters = (content: Content): boolean => content.change !== undefined && Boolean(content.change.recall ?? content.change.edit ?? content.change.deleteForMe);

/** One conversation of the list. */
class Item {
  state: ConversationState;
  last: ReceivedMessage | undefined;
  lastRecalled: Recalled | undefined;
  #lastEdit: Rank | undefined;
  end = 0;
  /** Number of unread messages at unknown positions, all of them before the known ones. */
  #unlisted = 0;
  #unlistedMentions = 0;
  #more = false;
  /** Set with `more` if the back end has stopped counting. */
  #full = false;
  /** The unread messages by position, ascending; an id of 0 is unknown. */
  readonly #unread = new Map<number, MessageId>();
  readonly #places = new Map<MessageId, number>();
  readonly #mentions = new Set<number>();

  constructor(
    readonly key: string,
    state: ConversationState,
    listed?: ListedPage,
  ) {
    this.state = state;
    if (!listed) return;
    this.last = listed.last && received(listed.last, { log: listed.last.channel, seq: listed.last.seq, id: listed.last.message?.id ?? 0n });
    const amended = this.last?.content.amended;
    if (amended && !amended.recalled) this.#lastEdit = { order: amended.order, change: amended.change };
    else if (listed.lastEdit !== 0n) this.#lastEdit = { order: 0n, change: listed.lastEdit };
    if (listed.lastRecall) this.lastRecalled = { change: listed.lastRecall.change, by: listed.lastRecall.by || undefined };
    this.end = listed.end;
    const hasIds = listed.unreadIds.length === listed.unreadSeqs.length;
    listed.unreadSeqs.forEach((seq, index) => {
      const id = hasIds ? (listed.unreadIds[index] as bigint) : 0n;
      this.#unread.set(seq, id);
      if (id !== 0n) this.#places.set(id, seq);
    });
    this.#unlisted = Math.max(0, listed.unread - this.#unread.size);
    this.#more = listed.unreadMore;
    this.#full = listed.unreadMore && listed.unread >= MAX_UNREAD;
    this.#mentions = new Set(listed.mentionSeqs);
    this.#unlistedMentions = Math.max(0, listed.mentions - listed.mentionSeqs.length);
  }

  get #lastSeq(): number {
    return this.last?.seq ?? 0;
  }

  get isListed(): boolean {
    const { hidden, deleted, closed } = this.state;
    return this.#lastSeq > Math.max(hidden, deleted) || (hidden === 0 && deleted === 0 && closed === undefined);
  }

  get #total(): number {
    return this.#unlisted + this.#unread.size;
  }

  get count(): number {
    return Math.min(this.#total, MAX_UNREAD);
  }

  get more(): boolean {
    return this.#more || this.#total > MAX_UNREAD;
  }

  get mentioned(): number {
    return Math.min(this.#unlistedMentions + this.#mentions.size, MAX_UNREAD);
  }

  show(): ListedConversation {
    const { state, last, lastRecalled } = this;
    return { conversation: conversationOf(this.key), state, last, lastRecalled, unread: this.count, unreadMore: this.more, mentions: this.mentioned };
  }

  /** Takes the next entry of the log. `done` is its state by changes that arrived before it, if any. */
  add(user: string, seq: number, message: ReceivedMessage, done: ShownMessage | undefined): void {
    if (seq <= this.end) return;
    this.end = seq;
    const { content, from, id } = message;
    // A change of another message is neither shown nor counted.
    if (!shows(this.state, seq) || content.change) return;
    if (!done?.isDeleted) {
      this.#lastEdit = this.lastRecalled = undefined;
      this.last = message;
      if (done) this.#showLast(done);
    }
    const isQuiet = content.silent || content.notice !== undefined;
    if (seq <= readTo(this.state) || done?.isGone || from === user || isQuiet) return;
    this.#unread.set(seq, id);
    this.#places.set(id, seq);
    this.#setMention(user, seq, done?.content ?? content);
    if (this.#unread.size <= MAX_UNREAD + LISTED) return;
    for (const [first, known] of this.#unread) {
      this.#unread.delete(first);
      this.#places.delete(known);
      this.#unlisted++;
      break;
    }
  }

  /** Takes a change of a message. Returns `false` if its effect on the counts is unknown. */
  change(user: string, id: MessageId, done: ShownMessage): boolean {
    let canTell = true;
    const seq = this.#places.get(id);
    if (seq === undefined) canTell = !done.isGone || (this.#unlisted === 0 && this.#places.size >= this.#unread.size);
    else if (done.isGone) {
      this.#places.delete(id);
      this.#unread.delete(seq);
      this.#mentions.delete(seq);
      // The back end would have counted another message instead.
      canTell = !this.#full || this.#total >= MAX_UNREAD;
    } else if (done.content) this.#setMention(user, seq, done.content);
    if (this.last?.id === id) {
      this.#showLast(done);
      // The message before it is unknown.
      if (done.isDeleted) canTell = false;
    }
    return canTell;
  }

  has(id: MessageId): boolean {
    return this.#places.has(id) || this.last?.id === id;
  }

  /** Takes a newer state. Returns `false` if the number of unread messages is then unknown. */
  set(state: ConversationState): boolean {
    if (state.version <= this.state.version) return true;
    const was = readTo(this.state);
    this.state = state;
    const is = readTo(state);
    if (!shows(state, this.#lastSeq)) this.last = this.#lastEdit = this.lastRecalled = undefined;
    if (is === was) return true;
    const [first = this.end] = this.#unread.keys();
    for (const [seq, id] of this.#unread) {
      if (seq > is) continue;
      this.#unread.delete(seq);
      this.#places.delete(id);
    }
    for (const seq of this.#mentions) if (seq <= is) this.#mentions.delete(seq);
    // Those at unknown positions are before the first known one, or before the end.
    const coversUnlisted = is >= first;
    if (coversUnlisted) {
      this.#unlisted = this.#unlistedMentions = 0;
      this.#more = this.#full = false;
    }
    return is > was && (coversUnlisted || (this.#unlisted === 0 && !this.#more));
  }

  #setMention(user: string, seq: number, says: Content): void {
    if (mentionsUser(says, user)) this.#mentions.add(seq);
    else this.#mentions.delete(seq);
  }

  /** Updates the last message with its changes, by the rules of a `Timeline`. */
  #showLast(done: ShownMessage): void {
    const { last } = this;
    if (!last) return;
    const { recalled, editRank: edit, content } = done;
    if (recalled) {
      if (!this.lastRecalled || recalled.change < this.lastRecalled.change) this.lastRecalled = recalled;
      this.#lastEdit = undefined;
      this.last = { ...last, content: create("Content") };
    } else if (!this.lastRecalled && edit && content) {
      const known = this.#lastEdit;
      if (known && (known.order > edit.order || (known.order === edit.order && known.change >= edit.change))) return;
      this.#lastEdit = edit;
      this.last = { ...last, content };
    }
  }
}

/**
 * The list of conversations, with last messages and unread counts. It is made from pages, and kept up to date by events without
 * further requests. It does no I/O.
 *
 * Pass it all events from the beginning, even before the first page. Load all pages with {@link Client.loadConversations}
 * whenever {@link needsLoading} is set.
 */
export class ConversationList {
  readonly #items = new Map<string, Item>();
  #recent: Recent[] = [];
  /** The changes of messages, known or not. */
  #changes: Timeline;
  /** The end of the inbox, according to pages and entries. */
  #inboxEnd = 0;
  #stale = true;
  #loaded = false;

  constructor(readonly user: string) {
    this.#changes = new Timeline(user, MAX_RECENT);
  }

  /** Set if pages have to be loaded: at first, and after an event with unknown effect, such as a reset. */
  get needsLoading(): boolean {
    return this.#stale || !this.#loaded;
  }

  /** Clears the list before the first page is requested. */
  beginLoading(): void {
    this.#items.clear();
    this.#inboxEnd = 0;
    this.#stale = this.#loaded = false;
  }

  /** Takes a page. */
  load(page: Conversations): void {
    this.#inboxEnd = Math.max(this.#inboxEnd, page.inboxEnd);
    const ends = new Map<string, number>();
    for (const listed of page.conversations) {
      if (!listed.state) continue;
      const key = nameOf(listed.state);
      ends.set(key, listed.end);
      const known = this.#items.get(key);
      this.#items.set(key, new Item(key, listed.state, listed));
      // Applies changes that are newer than the page.
      if (known) this.#set(known.state);
    }
    for (const [key, end] of ends) this.#catchUp(key, end);
    for (const { log, seq, key, message } of this.#recent) {
      const isLater = log === "" ? seq > page.inboxEnd : seq > (ends.get(`#${log}`) ?? Infinity);
      if (isLater && alters(message.content)) this.#takeChange(log, key, message, (name) => ends.has(name));
    }
    if (page.more) return;
    this.#loaded = true;
    // Adds conversations that are newer than the pages.
    const inboxEnd = this.#inboxEnd;
    const began = this.#recent.filter(({ key }) => key !== undefined && !this.#items.has(key));
    for (const { key, seq, message } of began) this.#add(key as string, seq, message, inboxEnd);
  }

  /** Takes an event. Returns `true` if something in the list may look different. */
  apply(event: ClientEvent): boolean {
    if (event.type === "message") return this.#take(event.message);
    if (event.type === "conversations_changed") {
      for (const state of event.states) this.#set(state);
      return true;
    }
    if (event.type !== "reset") return false;
    const { log } = event.position;
    this.#recent = this.#recent.filter((recent) => recent.log !== log);
    if (event.reason === "left") {
      // A closed channel stays in the list until the user deletes it.
      return this.#items.get(`#${log}`)?.state.closed === undefined && this.#items.delete(`#${log}`);
    }
    // The changes may have been rolled back together with their messages.
    this.#changes = new Timeline(this.user, MAX_RECENT);
    this.#stale = true;
    return false;
  }

  /** Returns the conversations: pinned ones first, then by their last messages, newest first. */
  conversations(): ListedConversation[] {
    const items = [...this.#items.values()].filter(({ isListed }) => isListed);
    items.sort((one, other) => {
      const pinned = Number(other.state.pinned) - Number(one.state.pinned);
      const [first, second] = [one.last?.id ?? -1n, other.last?.id ?? -1n];
      return pinned || (first === second ? (one.key < other.key ? -1 : 1) : first > second ? -1 : 1);
    });
    return items.map((item) => item.show());
  }

  /** Returns a conversation, even if it is hidden. */
  get(conversation: Conversation): ListedConversation | undefined {
    return this.#items.get(keyOf(conversation))?.show();
  }

  /** Unread messages in all listed conversations that are not muted, for a badge. */
  unread(nowMs: number = Date.now()): Unread {
    let [count, more] = [0, false];
    for (const item of this.#items.values()) {
      if (!item.isListed || isMuted(item.state, nowMs)) continue;
      count += item.state.mentionsOnly ? item.mentioned : item.count;
      more ||= item.more;
    }
    return { count, more };
  }

  #take(message: ReceivedMessage): boolean {
    const { position, channel, from, to } = message;
    if (!position) return false;
    const { log, seq } = position;
    const peer = from === this.user ? to : from;
    const key = channel !== undefined ? `#${channel}` : peer === undefined ? undefined : `@${peer}`;
    this.#recent.push({ log, seq, key, message });
    if (this.#recent.length > MAX_RECENT) this.#recent.shift();
    if (key !== undefined) this.#add(key, seq, message, this.#inboxEnd);
    const isChange = this.#takeChange(log, key, message, () => true);
    if (log === "") this.#inboxEnd = Math.max(this.#inboxEnd, seq);
    return key !== undefined || isChange;
  }

  /** Applies a change to the conversations that its message may be in, except those that include it already. */
  #takeChange(log: LogName, named: string | undefined, message: ReceivedMessage, isNewTo: (key: string) => boolean): boolean {
    const change = message.content.change;
    if (!change || !alters(message.content)) return false;
    this.#changes.apply(message);
    const done = this.#changes.doneTo(change.messageId);
    if (!done) {
      // Too many later messages have changes, so this one was dropped.
      this.#stale = true;
      return false;
    }
    const channel = log || change.channel;
    for (const [key, item] of this.#items) {
      // Without a named conversation, it may be one in which the id of the message is unknown.
      const mayBeIn = channel ? key === `#${channel}` : key[0] !== "#" && (named === undefined || named === key || item.has(change.messageId));
      if (mayBeIn && isNewTo(key) && !item.change(this.user, change.messageId, done)) this.#stale = true;
    }
    return true;
  }

  /** Adds an entry. `knownTo` is the known end of the inbox for conversations without an item. */
  #add(key: string, seq: number, message: ReceivedMessage, knownTo: number): void {
    let item = this.#items.get(key);
    if (!item) {
      if (message.content.change || (key[0] === "@" && seq <= knownTo)) return;
      const { user = "", channel = "" } = conversationOf(key);
      this.#items.set(key, (item = new Item(key, create("ConversationState", { user, channel }))));
    }
    item.add(this.user, seq, message, this.#changes.doneTo(message.id));
  }

  /** Adds the entries that are newer than a page. */
  #catchUp(key: string, knownTo: number): void {
    const item = this.#items.get(key);
    const log = key[0] === "#" ? key.slice(1) : "";
    const later = this.#recent.filter((recent) => recent.log === log && recent.seq > knownTo);
    // Entries have no gaps: the first of them are gone.
    if (later[0] && later[0].seq > knownTo + 1) this.#stale = true;
    for (const { key: of, seq, message } of later) if (of === key) item?.add(this.user, seq, message, this.#changes.doneTo(message.id));
  }

  #set(state: ConversationState): void {
    const key = nameOf(state);
    const item = this.#items.get(key);
    if (item) {
      if (!item.set(state)) this.#stale = true;
    } else if (state.version === 0) return;
    // A channel is listed once the device follows it.
    else if (key[0] === "#") this.#stale = true;
    else this.#items.set(key, new Item(key, state));
  }
}

const nameOf = ({ user, channel }: ConversationState): string => (channel ? `#${channel}` : `@${user}`);
