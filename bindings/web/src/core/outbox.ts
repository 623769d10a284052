/**
 * Publishes on their way: saved first, then sent under their local id as number, until they are answered. At most one per
 * conversation is unanswered, the rest wait in order.
 *
 * ```text
 *                                                +-- number used --+
 *                                                v                 |
 *  send --> first of its conversation? -- yes --> saved --> ready --> sent --> settled
 *                     | no                       ^           ^         |
 *                     +--> waits for the one before          +- retry -+
 * ```
 *
 * The store may be an old copy of itself, restored from a backup, and nothing in it tells. So a publish has its number from the
 * beginning: whoever sends it, back ends know it again. If the number was used, a publish of this process gets another installation, and
 * one of the store may have arrived. What is appended without a connection is of an installation of its own: see `Client.send`. What
 * fails gets the number of its retry at once, so that retries before and after a restore are one message.
 */
import { encodeFrame } from "../codec.js";
import { ImError, type Refusal } from "../errors.js";
import { conversationOf, type MessageId } from "../ids.js";
import { RefusalKind, type PublishResult } from "../proto.js";
import { randomBits, type SavedFailure, type SavedPublish } from "../store/store.js";
import { seal } from "./origin.js";
import { earliest, type Random } from "./timing.js";

/** What a server allows. */
export interface ServerLimits {
  readonly maxFrameBytes: number;
  readonly maxInflight: number;
}

/** What became of a send. */
export type Settled =
  | { readonly localId: number; readonly messageId: MessageId; readonly answer: Uint8Array; readonly error?: undefined }
  | { readonly localId: number; readonly error: ImError };

/** Where a send stands: `pending` never travelled, `sent` may have arrived, `failed` stays until it is discarded. */
export type SendState = "pending" | "sent" | "failed";

/** A send that is not settled, or that failed. */
export interface QueuedSend {
  readonly localId: number;
  /** The conversation, as `@user` or `#channel`. */
  readonly to: string;
  readonly content: Uint8Array;
  readonly state: SendState;
  readonly error?: ImError | undefined;
}

interface Entry {
  readonly localId: number;
  readonly to: string;
  readonly content: Uint8Array;
  readonly number: number;
  /** The installation that the number is of. */
  installation: bigint;
  /** The failed send that it retries. */
  readonly retries: number | undefined;
  /** It is from the store, so another process may have sent it, perhaps before the store was restored. */
  readonly loaded: boolean;
  /** It has become the first of its conversation: it may travel once that is saved. */
  released: boolean;
  /** How often its number turned out to be used. */
  renewals: number;
  /** It was handed to a connection, by this process or an earlier one. */
  travelled: boolean;
  /** The last try has no answer yet. */
  unanswered: boolean;
  /** Something may have come of an earlier try: why that is not known. */
  doubt: string | undefined;
  refusals: number;
}

interface Failed {
  readonly to: string;
  readonly content: Uint8Array;
  /** That of a retry. */
  readonly installation: bigint;
  readonly failure: SavedFailure;
}

const MAX_FAILED = 100;
/** Retries are numbered from here on, by what they retry: an answer to the failed try is not taken for one to the retry. */
const FIRST_RETRY = 2 ** 40;
/** A server answers everything; should it not, a publish is sent again under its number. */
const REPEAT_AFTER_MS = 60_000;
const LONGEST_DELAY_MS = 15_000;
/** Installations of one publish. The second one was never used, so this is for a server that errs. */
const MAX_RENEWALS = 3;

/** All publishes that are not settled. */
export class Outbox {
  readonly #entries = new Map<number, Entry>();
  readonly #failed = new Map<number, Failed>();
  /** Each conversation's publishes, first come first. */
  readonly #queues = new Map<string, number[]>();
  readonly #numbered = new Map<number, Entry>();
  /** Saved, and neither sent nor delayed. */
  readonly #ready = new Set<number>();
  readonly #delayed = new Map<number, number>();
  /** Sent and unanswered, with the time of the next try. */
  readonly #sent = new Map<number, number>();
  readonly #unsaved = new Set<number>();
  readonly #settled: Settled[] = [];
  #nextNumber: number;
  #renewed: bigint | undefined;
  /** The highest local id that came. */
  lastLocalId = 0;

  /** `installation` is that of the store, which seals the origins; `renewed` the one that new numbers are of, if it is another one. */
  constructor(
    readonly installation: bigint,
    renewed: bigint | undefined,
    nextNumber: number,
    saved: readonly SavedPublish[],
  ) {
    this.#renewed = renewed;
    this.#nextNumber = Math.max(1, nextNumber);
    for (const publish of saved) this.#take(publish, true);
  }

  get renewed(): bigint | undefined {
    return this.#renewed;
  }

  get nextNumber(): number {
    return this.#nextNumber;
  }

  get isEmpty(): boolean {
    return this.#entries.size === 0;
  }

  get isUnanswered(): boolean {
    return this.#sent.size > 0;
  }

  /** Takes a publish that was appended since the store was loaded. One that is known already is passed over. */
  push(saved: SavedPublish): void {
    this.#take(saved, false);
  }

  #take(saved: SavedPublish, loaded: boolean): void {
    const { localId, to, content } = saved;
    if (localId <= this.lastLocalId) return;
    this.lastLocalId = localId;
    if (saved.failure) {
      this.#fail(localId, { to, content, installation: saved.installation ?? randomBits(), failure: saved.failure });
      return;
    }
    const { retries } = saved;
    if (retries !== undefined) this.#failed.delete(retries);
    const released = saved.number > 0;
    const number = released ? saved.number : retries === undefined ? localId : FIRST_RETRY + retries;
    const installation = saved.installation ?? this.installation;
    const tries = { travelled: released, unanswered: loaded, doubt: undefined, refusals: 0, renewals: 0 };
    const entry: Entry = { localId, to, content, number, installation, retries, loaded, released, ...tries };
    this.#entries.set(localId, entry);
    if (number < FIRST_RETRY) this.#nextNumber = Math.max(this.#nextNumber, number + 1);
    if (released) {
      this.#numbered.set(number, entry);
      this.#ready.add(number);
    }
    const queue = this.#queues.get(to);
    if (queue) queue.push(localId);
    else {
      this.#queues.set(to, [localId]);
      this.#release(entry);
    }
  }

  /** Returns the next frame to send, which counts as sent. */
  pollTransmit(now: number, limits: ServerLimits): Uint8Array | undefined {
    while (this.#ready.size > 0 && this.#sent.size < limits.maxInflight) {
      const number = Math.min(...this.#ready);
      const entry = this.#numbered.get(number);
      this.#ready.delete(number);
      if (!entry) continue;
      const { user = "", channel = "" } = conversationOf(entry.to);
      const content = { $unknown: entry.content };
      const frame = encodeFrame({ publish: { number, to: user, content, channel, installation: entry.installation, origin: seal(this.installation, entry.localId) } });
      if (frame.length > limits.maxFrameBytes + 3) {
        // The limit shrank with another server.
        this.#settleFailed(entry, tooLarge(frame.length, limits.maxFrameBytes));
        continue;
      }
      if (entry.unanswered) entry.doubt = "the answer to an earlier try was lost";
      entry.travelled = entry.unanswered = true;
      this.#sent.set(number, now + REPEAT_AFTER_MS);
      return frame;
    }
    return undefined;
  }

  /** The server's answer. One to a publish that is settled already means nothing any more. */
  handleResult(now: number, random: Random, result: PublishResult): void {
    const entry = this.#sent.has(result.number) ? this.#numbered.get(result.number) : undefined;
    if (!entry) return;
    this.#sent.delete(result.number);
    if (result.accepted) {
      const { messageId, answer } = result.accepted;
      this.#remove(entry);
      this.#settled.push({ localId: entry.localId, messageId, answer });
      return;
    }
    const refusal = refusalOf(result.refused);
    entry.unanswered = false;
    if (!isCertain(refusal)) entry.doubt = refusal.reason;
    if (refusal.kind === RefusalKind.NumberUsed) return this.#handleNumberUsed(entry, refusal);
    if (refusal.retryAfterMs > 0) {
      const grown = Math.min(refusal.retryAfterMs * 2 ** Math.min(entry.refusals++, 16), LONGEST_DELAY_MS);
      const delay = Math.max(grown, refusal.retryAfterMs);
      this.#delayed.set(result.number, now + delay * (1 + random()));
      return;
    }
    // A refusal says nothing of the tries before, so it must not invite to another one.
    const doubt = isCertain(refusal) && refusal.kind !== RefusalKind.TooMany ? undefined : entry.doubt;
    this.#settleFailed(
      entry,
      doubt === undefined
        ? new ImError("refused", `the message to ${entry.to} was refused: ${refusal.reason}`, refusal)
        : new ImError("unconfirmed", `whether the message to ${entry.to} arrived is not known (${doubt}): look for it before you send it anew`, refusal),
    );
  }

  /** The number was used for another publish, or for this one before the store was restored. */
  #handleNumberUsed(entry: Entry, refusal: Refusal): void {
    if (entry.loaded || entry.doubt !== undefined) {
      const message = `whether the message to ${entry.to} arrived is not known, as its number was used, as after a restore from a backup: look for it before you send it anew`;
      this.#settleFailed(entry, new ImError("unconfirmed", message, refusal));
    } else if (entry.renewals++ < MAX_RENEWALS) {
      if (entry.installation === (this.#renewed ?? this.installation)) this.#renewed = randomBits();
      entry.installation = this.#renewed ?? this.installation;
      entry.travelled = false;
      this.#unsaved.add(entry.localId);
    } else this.#settleFailed(entry, new ImError("refused", `the message to ${entry.to} was refused: ${refusal.reason}`, refusal));
  }

  /** Nothing will answer what was sent: it is sent again. */
  handleConnectionLost(): void {
    for (const number of this.#sent.keys()) this.#ready.add(number);
    this.#sent.clear();
  }

  handleTimeout(now: number): void {
    for (const waiting of [this.#delayed, this.#sent]) {
      for (const [number, at] of waiting) {
        if (at > now) continue;
        waiting.delete(number);
        this.#ready.add(number);
      }
    }
  }

  pollTimeout(): number | undefined {
    return earliest(...this.#delayed.values(), ...this.#sent.values());
  }

  /** Forgets a send. Returns `false` if it is on its way, or unknown. */
  discard(localId: number): boolean {
    const entry = this.#entries.get(localId);
    if (entry?.travelled) return false;
    if (entry) {
      this.#remove(entry);
      this.#settled.push({ localId, error: new ImError("discarded", `the message to ${entry.to} was discarded before it was sent`) });
    } else if (!this.#failed.delete(localId)) return false;
    this.#unsaved.add(localId);
    return true;
  }

  /** Returns what is not settled and what failed, in the order in which it was sent. */
  list(): QueuedSend[] {
    const waiting = [...this.#entries.values()].map(
      ({ localId, to, content, travelled }): QueuedSend => ({ localId, to, content, state: travelled ? "sent" : "pending" }),
    );
    const failed = [...this.#failed].map(
      ([localId, { to, content, failure }]): QueuedSend => ({ localId, to, content, state: "failed", error: errorOf(failure) }),
    );
    return [...waiting, ...failed].sort((one, other) => one.localId - other.localId);
  }

  pollSettled(): Settled | undefined {
    return this.#settled.shift();
  }

  get hasUnsaved(): boolean {
    return this.#unsaved.size > 0;
  }

  /** Returns what to save and what to forget, which counts as saved. */
  pollSave(): { put: SavedPublish[]; remove: number[] } {
    const put: SavedPublish[] = [];
    const remove: number[] = [];
    for (const localId of this.#unsaved) {
      const entry = this.#entries.get(localId);
      const failed = this.#failed.get(localId);
      if (entry) {
        const { released, number, installation, retries, to, content } = entry;
        put.push({ localId, number: released ? number : 0, installation, ...(retries === undefined ? {} : { retries }), to, content });
      }
      else if (failed) put.push({ localId, number: 0, ...failed });
      else remove.push(localId);
    }
    this.#unsaved.clear();
    return { put, remove };
  }

  /** It was saved: numbers can be used. */
  handleSaved(put: readonly SavedPublish[]): void {
    for (const { localId, number, installation } of put) {
      const entry = this.#entries.get(localId);
      const isCurrent = number > 0 && entry?.number === number && entry.installation === installation;
      if (isCurrent && !this.#sent.has(number) && !this.#delayed.has(number)) this.#ready.add(number);
    }
  }

  handleNotSaved(put: readonly SavedPublish[], remove: readonly number[]): void {
    for (const { localId } of put) this.#unsaved.add(localId);
    for (const localId of remove) this.#unsaved.add(localId);
  }

  #release(entry: Entry): void {
    if (entry.released) return;
    entry.released = true;
    this.#numbered.set(entry.number, entry);
    this.#unsaved.add(entry.localId);
  }

  #settleFailed(entry: Entry, error: ImError): void {
    this.#remove(entry);
    const { code, message, refusal } = error;
    const failure = refusal ? { code, message, refusal } : { code, message };
    this.#fail(entry.localId, { to: entry.to, content: entry.content, installation: randomBits(), failure });
  }

  /** A failure stays until it is discarded or retried. */
  #fail(localId: number, failed: Failed): void {
    this.#settled.push({ localId, error: errorOf(failed.failure) });
    this.#failed.set(localId, failed);
    if (this.#failed.size <= MAX_FAILED) return;
    const oldest = Math.min(...this.#failed.keys());
    this.#failed.delete(oldest);
    this.#unsaved.add(oldest);
  }

  /** Takes a publish out and lets the next one of its conversation go. */
  #remove(entry: Entry): void {
    this.#entries.delete(entry.localId);
    this.#unsaved.add(entry.localId);
    this.#numbered.delete(entry.number);
    this.#ready.delete(entry.number);
    this.#sent.delete(entry.number);
    this.#delayed.delete(entry.number);
    const queue = (this.#queues.get(entry.to) ?? []).filter((localId) => localId !== entry.localId);
    const next = queue[0] === undefined ? undefined : this.#entries.get(queue[0]);
    if (next) {
      this.#queues.set(entry.to, queue);
      this.#release(next);
    } else this.#queues.delete(entry.to);
  }
}

/** After these refusals nothing came of the try, for certain. */
function isCertain({ kind }: Refusal): boolean {
  const certain: number[] = [RefusalKind.Rule, RefusalKind.Invalid, RefusalKind.TooMany, RefusalKind.NoBackend, RefusalKind.NumberUsed];
  return certain.includes(kind);
}

/** Returns a refusal as the application sees it. */
export function refusalOf(refused: Refusal | undefined): Refusal {
  if (!refused) return { kind: 0, reason: "the answer is one that this version does not know", code: 0, retryAfterMs: 0 };
  const { kind, reason, code, retryAfterMs } = refused;
  return { kind, reason, code, retryAfterMs };
}

function errorOf({ code, message, refusal }: SavedFailure): ImError {
  return new ImError(code, message, refusal);
}

/** The error of a frame that the server would not take. */
export function tooLarge(bytes: number, limit: number): ImError {
  return new ImError("too_large", `the message takes ${bytes} bytes, and the limit is ${limit}: send less, or put media where a URL leads to`);
}
