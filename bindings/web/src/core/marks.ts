/** Changes of conversations on their way to the back end, and the versions of the user's changes that are known. */
import { decode, encode, type Init } from "../codec.js";
import { ImError } from "../errors.js";
import { conversationOf } from "../ids.js";
import type { ConversationState, Mark } from "../proto.js";
import type { SavedMarks } from "../store/store.js";
import { earliest } from "./timing.js";

/** The changes of a conversation. Omitted fields stay as they are. */
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

/** The waiting changes, and the known version of the user's conversations. */
export class Marks {
  readonly #waiting = new Map<string, Pending[]>();
  #sent: [string, Pending[]][] = [];
  readonly #unsaved = new Set<string>();
  #nextAt: number | undefined;
  /** All changes up to this version are known; `undefined` if the application has not requested its conversations. */
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

  /** Takes a change of the application. */
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

  /** Called when everything in the logs has arrived: requests the changes that may have been missed. */
  handleSynced(now: number): void {
    if (this.version !== undefined) this.#askAt = now;
  }

  /** After a rollback, versions mean nothing. */
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

  /** Returns the changes to send now. They count as sent. */
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

  /** The sent changes are settled, or have to be sent again. */
  handleAnswered(now: number, isSettled: boolean): void {
    for (const [to, marks] of this.#sent) {
      if (isSettled) this.#unsaved.add(to);
      // Later changes take precedence.
      else this.#waiting.set(to, (this.#waiting.get(to) ?? []).reduce(add, marks));
    }
    this.#sent = [];
    if (!isSettled) this.#nextAt = now + RETRY_MS;
  }

  /** Returns the version since which to request changes now. */
  pollAsk(now: number): number | undefined {
    if (this.#asking || this.#askAt === undefined || this.#askAt > now || this.version === undefined) return undefined;
    this.#asking = true;
    this.#askAt = undefined;
    return this.version;
  }

  /** Follows changes from this version on, since the application has requested its list. */
  follow(version: number): void {
    this.#advance(Math.max(this.version ?? 0, version));
  }

  /** Takes the changes since a version. */
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
    // An empty page with further ones would repeat forever.
    this.#askAt = more && last !== undefined ? now : undefined;
  }

  handleChangesFailed(now: number, isFinal: boolean): void {
    this.#asking = false;
    if (!isFinal) this.#askAt = now + RETRY_MS;
  }

  /** Notes that a change is known. */
  note(now: number, version: number): void {
    if (this.version === undefined || version <= this.version) return;
    if (version > this.version + 1) {
      // A change that took another way may just be late.
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

/** Sorts users before channels, and then by name. */
const order = (to: string): string => (to[0] === "@" ? 0 : 1) + to;

const SETTINGS = ["pinned", "muted", "draft", "hidden", "markedUnread", "mutedUntilMs", "mentionsOnly"] as const;

/** Adds a later change, and removes what it replaces, so few are left. */
function add(marks: Pending[], later: Pending): Pending[] {
  const change = { ...later.change };
  const replaced = new Set<(typeof SETTINGS)[number]>(SETTINGS.filter((setting) => change[setting] !== undefined));
  // Reading implies that the user has seen the unread mark. A mute and its end belong together.
  if (change.read) replaced.add("markedUnread");
  if (replaced.has("muted") || replaced.has("mutedUntilMs")) replaced.add("muted").add("mutedUntilMs");
  const kept: Pending[] = [];
  for (const earlier of marks) {
    const rest = { ...earlier.change };
    for (const setting of replaced) delete rest[setting];
    // Positions never go back, and may go with any change.
    if ((rest.read ?? 0) > (change.read ?? 0)) Object.assign(change, { read: rest.read, readId: rest.readId ?? 0n });
    change.deleted = Math.max(rest.deleted ?? 0, change.deleted ?? 0);
    delete rest.read;
    delete rest.readId;
    delete rest.deleted;
    if (SETTINGS.some((setting) => rest[setting] !== undefined)) kept.push({ ...earlier, change: rest });
  }
  return [...kept, { ...later, change }];
}
