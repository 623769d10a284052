/** What the application sets in conversations, on its way to the back end; and which of the user's changes are known. */
import { decode, encode, type Init } from "../codec.js";
import { ImError } from "../errors.js";
import { conversationOf } from "../ids.js";
import type { ConversationState, Mark } from "../proto.js";
import type { SavedMarks } from "../store/store.js";
import { earliest } from "./timing.js";

/** What to set in a conversation. What is not set stays as it is. */
export type ConversationChange = Pick<
  Init<Mark>,
  "read" | "readId" | "pinned" | "muted" | "draft" | "hidden" | "deleted" | "markedUnread" | "mutedUntilMs" | "mentionsOnly"
>;

interface Pending {
  change: Init<Mark>;
  readonly setAtMs: number;
}

const MARK_INTERVAL_MS = 200;
const RETRY_MS = 1000;
const GAP_MS = 300;
const MAX_AHEAD = 64;
const MAX_CONVERSATIONS = 1000;
const MAX_MARKS = 32;
const MAX_DRAFT_BYTES = 1024;
const MAX_FRAME_SHARE = 60_000;

/** Marks that wait, and what is known of the user's changes. */
export class Marks {
  readonly #waiting = new Map<string, Pending[]>();
  #sent: [string, Pending[]][] = [];
  readonly #unsaved = new Set<string>();
  #nextAt: number | undefined;
  /** All changes up to this one are known; `undefined`: the application has not asked for its conversations. */
  version: number | undefined;
  readonly #ahead = new Set<number>();
  #asking = false;
  #askAt: number | undefined;

  constructor(saved: readonly SavedMarks[]) {
    for (const { to, marks } of saved) {
      this.#waiting.set(to, marks.map(({ setAtMs, mark }) => ({ setAtMs, change: decode("Mark", mark) })));
    }
  }

  get isEmpty(): boolean {
    return this.#waiting.size === 0 && this.#sent.length === 0;
  }

  /** Takes what the application sets now. */
  set(now: number, to: string, change: ConversationChange): void {
    if (new TextEncoder().encode(change.draft ?? "").length > MAX_DRAFT_BYTES) {
      throw new ImError("too_large", `the draft for ${to} is longer than ${MAX_DRAFT_BYTES} bytes: keep longer ones on the device`);
    }
    const marks = this.#waiting.get(to) ?? [];
    if (marks.length === 0 && this.#waiting.size >= MAX_CONVERSATIONS) {
      throw new ImError("queue_full", `something was set in ${MAX_CONVERSATIONS} conversations and is not taken yet: set this again later`);
    }
    this.#waiting.set(to, add(marks, { change: { ...change, known: this.version ?? 0 }, setAtMs: now }));
    this.#unsaved.add(to);
    this.#nextAt ??= now;
  }

  handleConnected(now: number): void {
    if (this.#waiting.size > 0) this.#nextAt ??= now;
  }

  handleConnectionLost(): void {
    this.#askAt = undefined;
  }

  /** Everything that was in the logs has come: time to ask what else may have been missed. */
  handleSynced(now: number): void {
    if (this.version !== undefined) this.#askAt = now;
  }

  /** After a rollback no version says anything. */
  handleRolledBack(): void {
    if (this.version === undefined) return;
    this.version = 0;
    this.#ahead.clear();
  }

  flush(now: number): void {
    this.#nextAt = now;
  }

  pollTimeout(): number | undefined {
    const marks = this.#sent.length === 0 && this.#waiting.size > 0 ? this.#nextAt : undefined;
    return earliest(marks, this.#asking ? undefined : this.#askAt);
  }

  /** Returns the marks to send now, which count as sent. */
  pollMarks(now: number): Init<Mark>[] | undefined {
    if (this.#sent.length > 0 || this.#waiting.size === 0 || this.#nextAt === undefined || this.#nextAt > now) return undefined;
    this.#nextAt = now + MARK_INTERVAL_MS;
    const request: Init<Mark>[] = [];
    let room = MAX_FRAME_SHARE;
    for (const [to, marks] of [...this.#waiting].sort(([one], [other]) => (order(one) < order(other) ? -1 : 1))) {
      const { user = "", channel = "" } = conversationOf(to);
      const ready = marks.map(({ change, setAtMs }) => ({ ...change, user, channel, ageMs: Math.max(0, Math.floor(now - setAtMs)) }));
      for (const mark of ready) room -= encode("Mark", mark).length + 4;
      if (request.length > 0 && (room < 0 || request.length + ready.length > MAX_MARKS)) break;
      request.push(...ready);
      this.#sent.push([to, marks]);
      this.#waiting.delete(to);
    }
    return request;
  }

  /** What was sent is settled, or was sent in vain. */
  handleAnswered(now: number, isSettled: boolean): void {
    for (const [to, marks] of this.#sent) {
      if (isSettled) this.#unsaved.add(to);
      // What was set since counts more.
      else this.#waiting.set(to, (this.#waiting.get(to) ?? []).reduce(add, marks));
    }
    this.#sent = [];
    if (!isSettled) this.#nextAt = now + RETRY_MS;
  }

  /** Returns the version since which to ask now. */
  pollAsk(now: number): number | undefined {
    if (this.#asking || this.#askAt === undefined || this.#askAt > now || this.version === undefined) return undefined;
    this.#asking = true;
    this.#askAt = undefined;
    return this.version;
  }

  /** The application has asked for its list: from here on its changes are followed. */
  follow(version: number): void {
    this.#advance(Math.max(this.version ?? 0, version));
  }

  /** What was set since a version came. */
  handleChanges(now: number, since: number, version: number, more: boolean, states: readonly ConversationState[]): void {
    this.#asking = false;
    if (version < since) {
      this.version = 0;
      this.#ahead.clear();
      this.#askAt = now;
      return;
    }
    const last = states.at(-1)?.version;
    this.#advance(Math.max(this.version ?? 0, more ? (last ?? since) : version));
    // An empty page with others behind it leads nowhere.
    this.#askAt = more && last !== undefined ? now : undefined;
  }

  handleChangesFailed(now: number, isFinal: boolean): void {
    this.#asking = false;
    if (!isFinal) this.#askAt = now + RETRY_MS;
  }

  /** A change is known. */
  note(now: number, version: number): void {
    if (this.version === undefined || version <= this.version) return;
    if (version > this.version + 1) {
      // One that took another way may just be late.
      if (this.#ahead.size < MAX_AHEAD) this.#ahead.add(version);
      this.#askAt ??= now + GAP_MS;
      return;
    }
    this.#advance(version);
    if (this.#ahead.size === 0) this.#askAt = undefined;
  }

  get hasUnsaved(): boolean {
    return this.#unsaved.size > 0;
  }

  pollSave(): SavedMarks[] {
    const saved = [...this.#unsaved].map((to): SavedMarks => {
      const sent = this.#sent.filter(([name]) => name === to).flatMap(([, marks]) => marks);
      const marks = [...sent, ...(this.#waiting.get(to) ?? [])];
      return { to, marks: marks.map(({ change, setAtMs }) => ({ setAtMs, mark: encode("Mark", change) })) };
    });
    this.#unsaved.clear();
    return saved;
  }

  handleNotSaved(saved: readonly SavedMarks[]): void {
    for (const { to } of saved) this.#unsaved.add(to);
  }

  #advance(version: number): void {
    let known = version;
    while (this.#ahead.delete(known + 1)) known++;
    for (const ahead of this.#ahead) if (ahead <= known) this.#ahead.delete(ahead);
    this.version = known;
  }
}

/** Users come before channels, and then it goes by name. */
const order = (to: string): string => (to[0] === "@" ? 0 : 1) + to;

const SETTINGS = ["pinned", "muted", "draft", "hidden", "markedUnread", "mutedUntilMs", "mentionsOnly"] as const;

/** Adds what was set later to what was set before. What it replaces goes, so few are left. */
function add(marks: Pending[], later: Pending): Pending[] {
  const change = { ...later.change };
  const replaced = new Set<(typeof SETTINGS)[number]>(SETTINGS.filter((setting) => change[setting] !== undefined));
  // Whoever reads has seen the mark; a mute and its end go together.
  if (change.read) replaced.add("markedUnread");
  if (replaced.has("muted") || replaced.has("mutedUntilMs")) replaced.add("muted").add("mutedUntilMs");
  const kept: Pending[] = [];
  for (const earlier of marks) {
    const rest = { ...earlier.change };
    for (const setting of replaced) delete rest[setting];
    // Places never go back, and may travel with any mark.
    if ((rest.read ?? 0) > (change.read ?? 0)) Object.assign(change, { read: rest.read, readId: rest.readId ?? 0n });
    change.deleted = Math.max(rest.deleted ?? 0, change.deleted ?? 0);
    delete rest.read;
    delete rest.readId;
    delete rest.deleted;
    if (SETTINGS.some((setting) => rest[setting] !== undefined)) kept.push({ ...earlier, change: rest });
  }
  return [...kept, { ...later, change }];
}
