/**
 * The logs that a device follows: every entry once and in order, or an explicit reset.
 *
 * ```text
 *            next one                     +-----------+
 *  entry --+--------> taken, and what was | position  | --> events
 *          |          held and is next    +-----------+
 *          +- later -> held --- 200 ms ---+
 *          +- known, another id ----------+--> Sync, one at a time --> entries, Reset, SyncDone
 *          +- known -> dropped            |
 *             end beyond the position ----+
 *             hint, long timer -----------+
 * ```
 */
import { ResetReason, type Cursor, type Frame, type Message } from "../proto.js";
import { encode, type Init } from "../codec.js";
import { isId, type LogName, type Position } from "../ids.js";
import type { SavedCursor } from "../store/store.js";
import { earliest, type Random } from "./timing.js";

/** A position in a log; an id of 0 is unknown. */
export interface Mark {
  readonly seq: number;
  readonly id: bigint;
}

/** An entry of a log. */
export interface Entry extends Mark {
  readonly message: Message;
}

/** The changes to report to the application, in order. */
export type LogChange =
  | { readonly log: LogName; readonly entry: Entry; readonly reset?: undefined }
  | { readonly log: LogName; readonly reset: Mark; readonly reason: ResetReason };

const START: Mark = { seq: 0, id: 0n };
/** Time limit of a gap: two back ends may publish neighbouring entries out of order. */
const HOLD_MS = 200;
const MAX_HELD = 64;
const MAX_HELD_IN_ALL = 1024;
const MAX_RECENT = 256;
/** Maximum number of syncs to find out whether a log is another one. */
const MAX_TRIES = 20;
const MAX_LOGS = 4096;
const FRAME_OVERHEAD = 16;

const differs = (one: Mark, other: Mark): boolean => one.seq === other.seq && one.id !== 0n && other.id !== 0n && one.id !== other.id;

/** An earlier position to sync from. */
interface Back {
  readonly from: Mark;
  /** Set if another message arrived for that position. */
  readonly contradicted: boolean;
  /** Otherwise the later positions that are still to be compared. */
  compare: Set<number>;
  asked: boolean;
  readonly tries: number;
}

/** Follows one log: decides which entry is the next. */
class LogFollower {
  /** The position; `undefined` if only entries have arrived that do not fit anywhere. */
  position: Mark | undefined;
  acked: Mark | undefined;
  /** The last position that this connection's server was told. */
  told: number | undefined;
  readonly held = new Map<number, Entry>();
  /** The ids up to the position, oldest first, to detect that the log was rolled back. */
  #recent: bigint[] = [];
  #gapUntil: number | undefined;
  #needsSince: number | undefined;
  /** The highest entry that had arrived when the last sync started. */
  #seen = 0;
  #back: Back | undefined;
  /** The start of the last sync, until its end has arrived. */
  #unanswered: Mark | undefined;

  static at(mark: Mark): LogFollower {
    const follower = new LogFollower();
    follower.acked = mark;
    follower.#set(mark);
    return follower;
  }

  get mark(): Mark {
    return this.position ?? START;
  }

  get wantsSyncAt(): number | undefined {
    return earliest(this.#gapUntil, this.#needsSince);
  }

  get isTroubled(): boolean {
    return this.held.size > 0 || this.wantsSyncAt !== undefined;
  }

  get isComparing(): boolean {
    return this.#back?.asked ?? false;
  }

  /** Returns the position from which the next sync starts. */
  askFrom(): Mark {
    if (this.#back) return this.#back.from;
    const begun = this.#unanswered;
    // Starting earlier would repeat too much.
    return begun && this.mark.seq - begun.seq < MAX_RECENT ? begun : this.mark;
  }

  /** Compares the next entries with the remembered ones, since the log may have been rolled back and have grown again. */
  goBack(): void {
    if (!this.#back) this.#compareAll(MAX_TRIES);
  }

  needSync(now: number): void {
    this.#needsSince ??= now;
  }

  beginSync(): void {
    this.#needsSince = this.#gapUntil = undefined;
    this.told = this.mark.seq;
    this.#unanswered ??= this.position;
    if (this.#back) this.#back.asked = true;
    this.#seen = Math.max(this.mark.seq, ...this.held.keys());
  }

  /** Takes an entry. Appends the entries that are next to `taken`. Returns whether the entry was known. */
  handleEntry(now: number, entry: Entry, hasRoom: boolean, taken: Entry[]): boolean {
    const { seq } = this.mark;
    if (entry.seq <= seq) {
      this.#checkKnown(now, entry);
      return true;
    }
    if (entry.seq > seq + 1) return this.#hold(now, entry, hasRoom);
    this.#take(entry, taken);
    this.takeHeld(now, taken);
    return false;
  }

  /** Continues at another position. Returns `false` if that is the current one. */
  handleReset(now: number, mark: Mark, reason: ResetReason): boolean {
    const hasIt = this.position !== undefined && mark.seq <= this.position.seq;
    // The sync started earlier than the log reaches, and nothing is missing.
    const needless = hasIt && reason !== ResetReason.New && reason !== ResetReason.Forked && !this.#back?.contradicted;
    if (needless) this.#back?.compare.forEach((seq) => seq <= mark.seq && this.#back?.compare.delete(seq));
    if (needless || (this.position?.seq === mark.seq && this.position.id === mark.id)) return false;
    this.#recent = [];
    this.#back = this.#unanswered = this.acked = undefined;
    this.#set(mark);
    if (this.told !== undefined) this.told = mark.seq;
    this.#seen = mark.seq;
    const held = this.held.size;
    const forked = reason === ResetReason.Forked;
    for (const seq of this.held.keys()) if (forked || seq <= mark.seq) this.held.delete(seq);
    // Some held entries may belong to the new branch.
    if (forked && held > 0) this.needSync(now);
    return true;
  }

  takeHeld(now: number, taken: Entry[]): void {
    for (let entry; (entry = this.held.get(this.mark.seq + 1)); ) {
      this.held.delete(entry.seq);
      this.#take(entry, taken);
    }
    this.#gapUntil = this.held.size > 0 ? now + HOLD_MS : undefined;
  }

  /** Takes the end of the log at the start of the sync, as the server reports it. */
  handleEnd(now: number, end: Mark): void {
    const mark = this.mark;
    this.#unanswered = undefined;
    this.#endGoingBack(now);
    const rolledBack = this.told !== undefined && end.seq < this.#seen;
    if (rolledBack) {
      // Held entries may belong to the lost branch.
      this.held.clear();
      this.#gapUntil = undefined;
      const lost = this.#at(end.seq + 1);
      if (lost) this.#contradict(lost);
    }
    if (end.seq > mark.seq || rolledBack || differs(end, mark)) this.needSync(now);
  }

  /** The application has processed everything up to a position. Returns whether that is new. */
  handleAck(mark: Mark): boolean {
    const known = this.#at(mark.seq);
    const isNews =
      this.position !== undefined &&
      mark.seq <= this.position.seq &&
      (this.acked === undefined || this.acked.seq < mark.seq) &&
      !(known && differs(known, mark));
    if (isNews) this.acked = mark;
    return isNews;
  }

  handleConnectionLost(): void {
    this.held.clear();
    this.#unanswered = this.#gapUntil = this.#needsSince = this.told = undefined;
  }

  #checkKnown(now: number, mark: Mark): void {
    const known = this.#at(mark.seq);
    if (!known) {
      // Too old to compare, and a server has no reason to send it.
      this.needSync(now);
    } else if (differs(known, mark)) {
      this.#contradict(known);
      this.needSync(now);
    } else {
      this.#back?.compare.delete(mark.seq);
    }
  }

  /** Notes that the log has another message at this position, or none. The server reports that if a sync starts there. */
  #contradict(known: Mark): void {
    const back = this.#back;
    if (back?.contradicted && known.seq >= back.from.seq) return;
    this.#back = { from: known, contradicted: true, compare: new Set(), asked: false, tries: back?.tries ?? MAX_TRIES };
  }

  #endGoingBack(now: number): void {
    const back = this.#back;
    if (!back?.asked) return;
    this.#back = undefined;
    const tries = back.tries - 1;
    if (back.contradicted) {
      // No reset arrived: it was lost, or the differing entry was an older one that came late. Comparing
      // tells which.
      this.#compareAll(tries);
    } else if (back.compare.size > 0 && tries > 0) {
      const from = this.#at(Math.min(...back.compare) - 1);
      if (from) this.#back = { ...back, from, asked: false, tries };
    }
    if (this.#back) this.needSync(now);
  }

  #compareAll(tries: number): void {
    const { seq } = this.mark;
    const oldest = seq - Math.max(0, this.#recent.length - 1);
    const compare = new Set<number>();
    for (let at = oldest + 1; at <= seq; at++) compare.add(at);
    const from = this.#at(oldest);
    this.#back = from && compare.size > 0 && tries > 0 ? { from, contradicted: false, compare, asked: false, tries } : undefined;
  }

  /** Returns an earlier position with its id, if that is remembered. */
  #at(seq: number): Mark | undefined {
    const id = this.#recent[this.#recent.length - 1 - (this.mark.seq - seq)];
    return id === undefined ? undefined : { seq, id };
  }

  #hold(now: number, entry: Entry, hasRoom: boolean): boolean {
    this.#gapUntil ??= now + HOLD_MS;
    const there = this.held.get(entry.seq);
    if (there) {
      if (differs(there, entry)) {
        this.held.clear();
        this.needSync(now);
      }
      return true;
    }
    if (hasRoom) this.held.set(entry.seq, entry);
    if (!hasRoom || this.held.size > MAX_HELD) {
      // Drops the highest entry, which is needed last. A sync brings it back.
      if (this.held.size > 0) this.held.delete(Math.max(...this.held.keys()));
      this.needSync(now);
    }
    return false;
  }

  #take(entry: Entry, taken: Entry[]): void {
    this.#set({ seq: entry.seq, id: entry.id });
    taken.push(entry);
  }

  #set(mark: Mark): void {
    this.position = mark;
    this.#recent.push(mark.id);
    if (this.#recent.length > MAX_RECENT) this.#recent.shift();
  }
}

const SILENCE_MS = 10_000;
const LONGEST_SYNC_MS = 60_000;
const SHORTEST_DELAY_MS = 1000;
const LONGEST_DELAY_MS = 60_000;

/** Limits how often syncs of one kind are requested. */
class Pace {
  #notBefore: number | undefined;
  #fruitless = 0;

  allow(at: number): number {
    return Math.max(at, this.#notBefore ?? at);
  }

  forgetWhatIsLongAgo(now: number): void {
    if (this.#notBefore !== undefined && this.#notBefore + LONGEST_DELAY_MS < now) this.#fruitless = 0;
  }

  backOff(now: number, random: Random): void {
    const ceiling = Math.min(SHORTEST_DELAY_MS * 2 ** Math.min(this.#fruitless++, 16), LONGEST_DELAY_MS);
    this.#notBefore = now + (ceiling / 2) * (1 + random());
  }
}

/**
 * The timers of syncs: one sync at a time, and never in a loop. Syncs that a log needs and routine or hinted syncs have separate
 * limits, since hints go to all devices of a server and mostly bring nothing.
 */
class SyncTimers {
  #underWay: { since: number; heard: number; fruitful: boolean; wanted: boolean } | undefined;
  #wanted = new Pace();
  #routine = new Pace();
  #againAt: number | undefined;
  #checkAt: number | undefined;
  #hintAt: number | undefined;

  constructor(readonly every: number) {}

  handleConnected(now: number, random: Random): void {
    this.#allIsWell();
    this.begin(now, random, false);
    // A sync without entries after a connect is not a failure.
    this.handleFruit(now);
  }

  handleConnectionLost(): void {
    this.#underWay = this.#checkAt = this.#hintAt = this.#againAt = undefined;
  }

  handleSign(now: number): void {
    if (this.#underWay) this.#underWay.heard = now;
  }

  handleFruit(now: number): void {
    this.handleSign(now);
    if (this.#underWay) this.#underWay.fruitful = true;
  }

  handleHint(now: number, random: Random, within: number): void {
    this.#hintAt = earliest(this.#hintAt, now + random() * Math.min(within, this.every));
  }

  handleDone(now: number, random: Random): void {
    const done = this.#underWay;
    this.#underWay = undefined;
    if (done) this.#learn(now, random, done);
  }

  handleTimeout(now: number, random: Random): void {
    const lost = this.#underWay;
    if (!lost || now < (this.lostAt() ?? Infinity)) return;
    this.#underWay = undefined;
    if (lost.wanted) this.#againAt = now;
    else this.#hintAt = now;
    this.#learn(now, random, lost);
  }

  /** Returns the time of the next sync, given the time at which some log needs one. */
  dueAt(wanted: number | undefined): number | undefined {
    if (this.#underWay || this.#checkAt === undefined) return undefined;
    const routine = this.#routine.allow(earliest(this.#hintAt, this.#checkAt) as number);
    const wish = earliest(wanted, this.#againAt);
    return earliest(wish === undefined ? undefined : this.#wanted.allow(wish), routine);
  }

  lostAt(): number | undefined {
    return this.#underWay && Math.min(this.#underWay.heard + SILENCE_MS, this.#underWay.since + LONGEST_SYNC_MS);
  }

  begin(now: number, random: Random, wanted: boolean): void {
    this.#wanted.forgetWhatIsLongAgo(now);
    this.#routine.forgetWhatIsLongAgo(now);
    this.#underWay = { since: now, heard: now, fruitful: false, wanted: wanted || this.#againAt !== undefined };
    this.#hintAt = this.#againAt = undefined;
    this.#checkAt = now + this.every * (0.75 + random() / 2);
  }

  #learn(now: number, random: Random, ended: { fruitful: boolean; wanted: boolean }): void {
    if (ended.fruitful) return this.#allIsWell();
    this.#routine.backOff(now, random);
    if (ended.wanted) this.#wanted.backOff(now, random);
  }

  #allIsWell(): void {
    this.#wanted = new Pace();
    this.#routine = new Pace();
  }
}

/** Acknowledgements are collected for this long, so that a screen full of messages takes one frame. */
const ACK_INTERVAL_MS = 100;

/** Decides when to send acknowledgements to the server. */
class Acks {
  unsent = new Set<LogName>();
  #sent = new Set<LogName>();
  #connected = false;
  #at: number | undefined;
  #due = false;

  handleConnected(now: number): void {
    this.#connected = true;
    this.end(now);
  }

  handleConnectionLost(): void {
    this.#again();
    this.#connected = this.#due = false;
  }

  handleAck(now: number, log: LogName): void {
    this.#at ??= now + ACK_INTERVAL_MS;
    this.unsent.add(log);
  }

  /** Sends earlier acknowledgements again soon, since they may have been lost. */
  repeat(now: number): void {
    this.#again();
    if (this.unsent.size > 0) this.#at ??= now + ACK_INTERVAL_MS;
  }

  flush(): void {
    this.#due = true;
  }

  get isPending(): boolean {
    return this.#connected && this.unsent.size > 0;
  }

  handleTimeout(now: number): void {
    if ((this.pollTimeout() ?? Infinity) <= now) this.#due = true;
  }

  pollTimeout(): number | undefined {
    return this.isPending && !this.#due ? this.#at : undefined;
  }

  get isDue(): boolean {
    return this.#due && this.isPending;
  }

  pop(log: LogName): void {
    this.unsent.delete(log);
    this.#sent.add(log);
  }

  end(now: number): void {
    this.#due = false;
    this.#at = this.unsent.size > 0 ? now + ACK_INTERVAL_MS : undefined;
  }

  #again(): void {
    for (const log of this.#sent) this.unsent.add(log);
    this.#sent.clear();
  }
}

/** The cursors that fit into a frame. */
class Cursors {
  readonly list: Init<Cursor>[] = [];
  constructor(private room: number) {
    this.room -= FRAME_OVERHEAD;
  }

  push(log: LogName, mark: Mark): boolean {
    const cursor = { channel: log, seq: mark.seq, id: mark.id };
    const bytes = encode("Cursor", cursor).length + 2;
    if (bytes > this.room) return false;
    this.room -= bytes;
    this.list.push(cursor);
    return true;
  }
}

/** Every log that a device follows. */
export class Logs {
  readonly #followers = new Map<LogName, LogFollower>();
  /** Logs that need a sync, now or soon, or hold entries. */
  readonly #troubled = new Set<LogName>();
  readonly #timers: SyncTimers;
  readonly #acks = new Acks();
  readonly #unsaved = new Set<LogName>();
  readonly #left = new Set<LogName>();
  #due = false;
  #upToDate = false;

  constructor(saved: readonly SavedCursor[], checkEvery: number) {
    for (const { channel, seq, id } of saved) this.#followers.set(channel, LogFollower.at({ seq, id }));
    this.#timers = new SyncTimers(checkEvery);
  }

  /** Returns whether the position in a log is known. */
  follows(log: LogName): boolean {
    return this.#followers.get(log)?.position !== undefined;
  }

  position(log: LogName): number {
    return this.#followers.get(log)?.mark.seq ?? 0;
  }

  handleConnected(now: number, random: Random): void {
    this.#timers.handleConnected(now, random);
    this.#acks.handleConnected(now);
    // Logs for which `Hello` had no room.
    for (const [log, follower] of this.#followers) {
      if (follower.told !== undefined) continue;
      follower.needSync(now);
      this.#troubled.add(log);
    }
  }

  handleConnectionLost(): void {
    for (const [log, follower] of this.#followers) {
      if (follower.position) follower.handleConnectionLost();
      else this.#followers.delete(log);
    }
    this.#troubled.clear();
    this.#due = this.#upToDate = false;
    this.#timers.handleConnectionLost();
    this.#acks.handleConnectionLost();
  }

  handleEntry(now: number, log: LogName, entry: Entry): LogChange[] {
    const hasRoom = this.#hasRoom();
    const follower = this.#follow(log);
    if (!follower) return [];
    const taken: Entry[] = [];
    const known = follower.handleEntry(now, entry, hasRoom, taken);
    if (known && follower.isComparing) this.#timers.handleFruit(now);
    this.#note(log, follower);
    return this.#tell(now, log, taken);
  }

  handleReset(now: number, log: LogName, mark: Mark, reason: ResetReason): LogChange[] {
    this.#timers.handleSign(now);
    if (reason === ResetReason.Left) return this.#leave(now, log, mark);
    const follower = this.#follow(log);
    if (!follower) return [];
    if (reason === ResetReason.New && follower.told === undefined && follower.position) {
      // The server assumes that there is no cursor, since it was not told. The next sync tells it.
      if (follower.mark.seq !== mark.seq || differs(follower.mark, mark)) follower.needSync(now);
      this.#note(log, follower);
      return [];
    }
    const begins = reason === ResetReason.New && !follower.position;
    const isNews = follower.handleReset(now, mark, reason);
    const taken: Entry[] = [];
    follower.takeHeld(now, taken);
    this.#note(log, follower);
    if (begins) this.#timers.handleFruit(now);
    const changes: LogChange[] = isNews ? [{ log, reset: mark, reason }] : [];
    return changes.concat(this.#tell(now, log, taken));
  }

  /** Returns `true` if nothing is missing any more, for the first time on this connection. */
  handleSyncDone(now: number, random: Random, ends: readonly (Mark & { channel: string })[], more: boolean): boolean {
    if (more) this.#timers.handleSign(now);
    else this.#timers.handleDone(now, random);
    for (const end of ends) {
      if ((end.channel !== "" && !isId(end.channel)) || (end.seq === 0 && !this.#followers.has(end.channel))) continue;
      const follower = this.#follow(end.channel);
      follower?.handleEnd(now, end);
      if (follower) this.#note(end.channel, follower);
    }
    const isFirst = !more && this.#troubled.size === 0 && !this.#upToDate;
    this.#upToDate ||= isFirst;
    return isFirst;
  }

  handleHint(now: number, random: Random, within: number, rolledBack: boolean): void {
    if (rolledBack) for (const follower of this.#followers.values()) follower.goBack();
    this.#timers.handleHint(now, random, within);
  }

  /** The application has processed everything up to a position. */
  handleAck(now: number, position: Position): void {
    if (!this.#followers.get(position.log)?.handleAck(position)) return;
    this.#unsaved.add(position.log);
    this.#acks.handleAck(now, position.log);
  }

  flushAcks(): void {
    this.#acks.flush();
  }

  get hasUnsentAcks(): boolean {
    return this.#acks.isPending;
  }

  handleTimeout(now: number, random: Random): void {
    this.#timers.handleTimeout(now, random);
    if ((this.#syncAt() ?? Infinity) <= now) this.#due = true;
    this.#acks.handleTimeout(now);
  }

  pollTimeout(): number | undefined {
    return earliest(this.#due ? undefined : this.#syncAt(), this.#timers.lostAt(), this.#acks.pollTimeout());
  }

  get hasUnsaved(): boolean {
    return this.#unsaved.size > 0 || this.#left.size > 0;
  }

  /** Returns the changes to save. They count as saved. */
  pollSave(): { cursors: SavedCursor[]; left: LogName[] } {
    const left = [...this.#left].filter((log) => !this.#unsaved.has(log));
    const cursors: SavedCursor[] = [];
    for (const log of this.#unsaved) {
      const acked = this.#followers.get(log)?.acked;
      if (acked) cursors.push({ channel: log, seq: acked.seq, id: acked.id });
    }
    this.#unsaved.clear();
    this.#left.clear();
    return { cursors, left };
  }

  handleNotSaved(cursors: readonly SavedCursor[], left: readonly LogName[]): void {
    for (const log of left) if (!this.#followers.has(log)) this.#left.add(log);
    for (const { channel } of cursors) if (this.#followers.has(channel)) this.#unsaved.add(channel);
  }

  /** Returns the cursors for a `Hello` with this many bytes of room, the inbox first. */
  hello(room: number): Init<Cursor>[] {
    const cursors = new Cursors(room);
    for (const [log, follower] of this.#sorted(() => false)) {
      if (!cursors.push(log, follower.askFrom())) break;
      follower.beginSync();
    }
    return cursors.list;
  }

  pollTransmit(now: number, random: Random, room: number): Init<Frame> | undefined {
    // The gap may have closed since.
    const due = this.#due && (this.#syncAt() ?? Infinity) <= now;
    this.#due = false;
    if (due) {
      this.#timers.begin(now, random, (this.#wantedAt() ?? Infinity) <= now);
      // The reasons for a sync suggest that acknowledgements were lost as well.
      this.#acks.repeat(now);
      return { sync: { cursors: this.#sync(room) } };
    }
    if (!this.#acks.isDue) return undefined;
    const cursors = new Cursors(room);
    for (const log of [...this.#acks.unsent].sort()) {
      const acked = this.#followers.get(log)?.acked;
      if (acked && !cursors.push(log, acked)) break;
      this.#acks.pop(log);
    }
    this.#acks.end(now);
    return cursors.list.length > 0 ? { ack: { cursors: cursors.list } } : undefined;
  }

  /** Returns all cursors that fit, first those of logs with missing entries. */
  #sync(room: number): Init<Cursor>[] {
    const cursors = new Cursors(room);
    const order = this.#sorted((log) => this.#troubled.has(log));
    this.#troubled.clear();
    for (const [log, follower] of order) {
      if (cursors.push(log, follower.askFrom())) follower.beginSync();
      // The answer treats the log as new, which must not count.
      else follower.told = undefined;
      this.#note(log, follower);
    }
    return cursors.list;
  }

  /** Sorts the logs by name, so the inbox comes before channels. */
  #sorted(isFirst: (log: LogName) => boolean): [LogName, LogFollower][] {
    const rank = (log: LogName): number => (isFirst(log) ? 0 : 1);
    return [...this.#followers].sort(([one], [other]) => rank(one) - rank(other) || (one < other ? -1 : 1));
  }

  #leave(now: number, log: LogName, mark: Mark): LogChange[] {
    // An inbox cannot be left.
    if (log === "") return [];
    const known = this.follows(log);
    this.#followers.delete(log);
    this.#troubled.delete(log);
    if (!known) return [];
    this.#unsaved.delete(log);
    this.#left.add(log);
    this.#timers.handleFruit(now);
    return [{ log, reset: mark, reason: ResetReason.Left }];
  }

  #syncAt(): number | undefined {
    return this.#timers.dueAt(this.#wantedAt());
  }

  #wantedAt(): number | undefined {
    let first: number | undefined;
    for (const log of this.#troubled) first = earliest(first, this.#followers.get(log)?.wantsSyncAt);
    return first;
  }

  #tell(now: number, log: LogName, taken: readonly Entry[]): LogChange[] {
    if (taken.length > 0) this.#timers.handleFruit(now);
    return taken.map((entry) => ({ log, entry }));
  }

  /** Returns the follower of a log, a new one if need be; `undefined` if there are too many. */
  #follow(log: LogName): LogFollower | undefined {
    let follower = this.#followers.get(log);
    if (!follower && this.#followers.size < MAX_LOGS) this.#followers.set(log, (follower = new LogFollower()));
    return follower;
  }

  #note(log: LogName, follower: LogFollower): void {
    if (follower.isTroubled) this.#troubled.add(log);
    else this.#troubled.delete(log);
  }

  #hasRoom(): boolean {
    let held = 0;
    for (const log of this.#troubled) held += this.#followers.get(log)?.held.size ?? 0;
    return held < MAX_HELD_IN_ALL;
  }
}
