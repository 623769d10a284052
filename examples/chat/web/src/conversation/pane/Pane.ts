import type { Client, Content, Conversation, ListedConversation, MessageId } from "@im-sdk/client";
import { Changes } from "../content";
import { keyOf } from "../key";
import type { Anchor } from "../list/layout";
import type { ListHandle } from "../list/VirtualList";
import { Store } from "../store";
import type { MessageView } from "../window/entries";
import { MessageWindow, type Place } from "../window/MessageWindow";
import { isBubble, isShown } from "../window/rows";

/** What the reader does in a conversation. */
export interface PaneState {
  /** The row under the pointer or with the focus, which shows its actions. */
  readonly active: string | undefined;
  /** The row that the Tab key reaches. */
  readonly current: string | undefined;
  readonly highlighted: string | undefined;
  readonly selected: ReadonlySet<MessageId> | undefined;
  readonly replyTo: MessageView | undefined;
  readonly editing: MessageView | undefined;
  readonly forwarding: readonly MessageView[] | undefined;
  /** The picture or video that is shown large. */
  readonly viewing: MessageId | undefined;
  /** Long texts that are shown whole, by row. */
  readonly opened: ReadonlySet<string>;
  /** Rows that play something, and stay mounted. */
  readonly kept: ReadonlySet<string>;
  /** The row above which the line for new messages stands. */
  readonly newFrom: string | undefined;
  readonly isAtEnd: boolean;
  /** The user's last read mark of the conversation as this page has set it. */
  readonly peerRead: MessageId;
}

const BEGINNING: PaneState = {
  active: undefined, current: undefined, highlighted: undefined, selected: undefined, replyTo: undefined, editing: undefined,
  forwarding: undefined, viewing: undefined, opened: new Set(), kept: new Set(), newFrom: undefined, isAtEnd: true, peerRead: 0n,
};
const HIGHLIGHT_MS = 2000;
const MARK_AFTER_MS = 250;

/** An open conversation: its messages, and what its reader does there. It outlives the components that show it. */
export class Pane {
  readonly key: string;
  readonly window: MessageWindow;
  readonly state = new Store<PaneState>(BEGINNING);
  readonly changes: Changes;
  list: ListHandle | null = null;
  composer: { focus(): void } | null = null;
  /** Where the reader was on leaving. */
  place: Anchor | undefined;
  readonly #release: () => void;
  #isPlaced: boolean;
  #readTo: number | undefined;
  #known: number | undefined;
  #marking: ReturnType<typeof setTimeout> | undefined;
  #unmarked: MessageView | undefined;
  #fading: ReturnType<typeof setTimeout> | undefined;

  constructor(
    readonly client: Client,
    readonly conversation: Conversation,
    listed: ListedConversation | undefined,
    at: number | undefined,
  ) {
    this.key = keyOf(conversation);
    this.changes = new Changes(client, conversation);
    const unread = listed && listed.unread > 0 ? readTo(listed) : undefined;
    const first = at ?? unread;
    this.window = new MessageWindow(client, conversation, first === undefined ? undefined : { seq: Math.max(1, first) });
    this.#isPlaced = at !== undefined;
    this.#release = this.window.subscribe(() => this.#look());
    if (listed) this.setListed(listed);
    if (at !== undefined) void this.jumpTo({ seq: at });
  }

  close(): void {
    this.#release();
    clearTimeout(this.#fading);
    this.#mark();
  }

  /** Takes what the list of conversations says. The first time it says where the new messages begin. */
  setListed(listed: ListedConversation): void {
    if (listed.state.peerRead !== this.state.value.peerRead) this.state.set({ peerRead: listed.state.peerRead });
    if (this.#readTo !== undefined) return;
    this.#readTo = readTo(listed);
    if (listed.state.markedUnread) void this.client.mark(this.conversation, { markedUnread: false });
    this.#look();
  }

  /** Moves to a message and highlights it. */
  async jumpTo(place: Place): Promise<void> {
    this.#isPlaced = true;
    const message = await this.window.jump(place);
    if (!message) return;
    this.state.set({ highlighted: message.key, current: message.key });
    this.list?.scrollTo(message.key);
    this.place = { key: message.key, distance: 120 };
    clearTimeout(this.#fading);
    this.#fading = setTimeout(() => this.state.set({ highlighted: undefined }), HIGHLIGHT_MS);
  }

  /** Moves to the newest message. */
  async toEnd(): Promise<void> {
    await this.window.toNewest();
    this.list?.scrollToEnd();
  }

  /** Says that the reader has moved. */
  moved(isAtEnd: boolean): void {
    const atEnd = isAtEnd && !this.window.getSnapshot().hasNewer;
    if (atEnd !== this.state.value.isAtEnd) this.state.set({ isAtEnd: atEnd });
    this.window.setFollowing(atEnd);
    this.place = this.list?.place();
    this.markSeen();
  }

  /** Marks what is in view as read. */
  readonly markSeen = (): void => {
    if (document.visibilityState !== "visible" || this.#readTo === undefined) return;
    const visible = new Set(this.list?.visible());
    const seen = this.window.getSnapshot().messages.findLast(({ key, from, seq }) => seq > 0 && from !== this.client.user && visible.has(key));
    if (!seen || seen.seq <= this.#readTo) return;
    this.#readTo = seen.seq;
    this.#unmarked = seen;
    this.#marking ??= setTimeout(this.#mark, MARK_AFTER_MS);
  };

  toggle(name: "opened" | "kept", key: string, isIn: boolean): void {
    const keys = new Set(this.state.value[name]);
    if (isIn) keys.add(key);
    else keys.delete(key);
    this.state.set({ [name]: keys });
  }

  select(id: MessageId): void {
    const selected = new Set(this.state.value.selected);
    if (!selected.delete(id)) selected.add(id);
    this.state.set({ selected: selected.size > 0 ? selected : undefined });
  }

  /** Returns the user's last text, to edit it. */
  lastOwn(): MessageView | undefined {
    return this.window.getSnapshot().messages.findLast(({ from, content, recalled }) => from === this.client.user && !recalled && content?.text !== undefined);
  }

  readonly #mark = (): void => {
    clearTimeout(this.#marking);
    this.#marking = undefined;
    if (this.#unmarked) void this.client.markRead(this.conversation, this.#unmarked).catch(() => {});
    this.#unmarked = undefined;
  };

  /** Places the line for new messages: once when the conversation is opened, and when something comes that is not in view. */
  #look(): void {
    const { messages, isReady } = this.window.getSnapshot();
    const last = messages.at(-1);
    if (!isReady || this.#readTo === undefined) return;
    const isNew = ({ seq, from, content }: MessageView, after: number): boolean => seq > after && from !== this.client.user && counts(content);
    if (this.#known === undefined) {
      const first = messages.find((message) => isShown(message) && isNew(message, this.#readTo ?? 0));
      if (first) {
        this.state.set({ newFrom: first.key });
        if (!this.#isPlaced) this.place = { key: "unread", distance: 80 };
        if (!this.#isPlaced && this.list) this.list.scrollTo("unread", 0.12);
      }
      this.#isPlaced = true;
    } else if (document.visibilityState !== "visible" || !this.state.value.isAtEnd || this.#isLeft()) {
      const first = messages.find((message) => isBubble(message) && isNew(message, this.#known ?? 0));
      const line = messages.find(({ key }) => key === this.state.value.newFrom);
      // An earlier line stays as long as something below it is unread.
      if (first && !(line && line.seq > this.#readTo)) this.state.set({ newFrom: first.key });
    }
    this.#known = Math.max(this.#known ?? 0, last?.seq ?? 0);
  }

  /** Returns whether nothing shows the messages. An empty conversation has no list either. */
  #isLeft(): boolean {
    return this.list === null && (this.#known ?? 0) > 0;
  }
}

function readTo({ state }: ListedConversation): number {
  return Math.max(state.read, state.deleted, state.joined);
}

/** Returns whether a message counts as unread, as the back end does. */
function counts(content: Content | undefined): boolean {
  return content !== undefined && !content.silent && content.notice === undefined;
}

/** Conversations whose messages stay loaded after the reader has left. */
const MOST_PANES = 6;
const panes = new WeakMap<Client, Map<string, Pane>>();

/** Returns the open conversation of this name, or opens it. */
export function paneOf(client: Client, conversation: Conversation, listed: ListedConversation | undefined, at: number | undefined): Pane {
  const open = panes.get(client) ?? new Map<string, Pane>();
  panes.set(client, open);
  const key = keyOf(conversation);
  const pane = open.get(key) ?? new Pane(client, conversation, listed, at);
  // The one that was looked at last is the last to go.
  open.delete(key);
  open.set(key, pane);
  for (const [oldest, closing] of open) {
    if (open.size <= MOST_PANES) break;
    open.delete(oldest);
    closing.close();
  }
  return pane;
}
