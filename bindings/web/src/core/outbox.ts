/**
 * Publishes in transit: saved first, then sent with their local id as number, until they are answered. At most one per
 * conversation is unanswered; the rest wait in order.
 *
 * ```text
 *                                                +-- number used --+
 *                                                v                 |
 *  send --> first of its conversation? -- yes --> saved --> ready --> sent --> settled
 *                     | no                       ^           ^         |
 *                     +--> waits for the one before          +- retry -+
 * ```
 *
 * The store may be an old copy, restored from a backup, without any sign of that. So a publish has its number from the beginning:
 * back ends recognise it, whoever sends it. If the number was used, a publish of this process gets another installation, while
 * one from the store may have arrived. Publishes that are made without a connection have an installation of their own: see
 * `Client.send`. A failed publish gets the number of its retry at once, so that retries before and after a restore are one
 * message.
 */
import { encodeFrame } from "../codec.js";
import { ImError, type Refusal } from "../errors.js";
import { conversationOf, type MessageId } from "../ids.js";
import { RefusalKind, type PublishResult } from "../proto.js";
import { randomBits, type SavedFailure, type SavedPublish } from "../store/store.js";
import { seal } from "./origin.js";
import { earliest, type Random } from "./timing.js";

/** The limits of a server. */
export interface ServerLimits {
  readonly maxFrameBytes: number;
  readonly maxInflight: number;
}

/** The outcome of a send. */
export type Settled =
  | { readonly localId: number; readonly messageId: MessageId; readonly answer: Uint8Array; readonly error?: undefined }
  | { readonly localId: number; readonly error: ImError };

/** The state of a send: `pending` was never sent, `sent` may have arrived, `failed` stays until it is discarded. */
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
  /** The installation of the number. */
  installation: bigint;
  /** The local id of the failed send that it retries. */
  readonly retries: number | undefined;
  /** Set if it is from the store: another process may have sent it, perhaps before the store was restored. */
  readonly loaded: boolean;
  /** Set if it is the first of its conversation: it may be sent once that is saved. */
  released: boolean;
  /** The number of times that its number was already used. */
  renewals: number;
  /** Set if this process or an earlier one has handed it to a connection. */
  travelled: boolean;
  /** Set if the last attempt has no answer yet. */
  unanswered: boolean;
  /** Set if an earlier attempt may have had an effect: the reason why that is unknown. */
  doubt: string | undefined;
  refusals: number;
}

interface Failed {
  readonly to: string;
  readonly content: Uint8Array;
  /** The installation of a retry. */
  readonly installation: bigint;
  readonly failure: SavedFailure;
}

const MAX_FAILED = 100;
/**
 * The first number of retries; each adds the local id of the failed send. An answer to the failed attempt is not taken for one to
 * the retry.
 */
const FIRST_RETRY = 2 ** 40;
/** A server answers everything. If it does not, a publish is sent again under its number after this time. */
const REPEAT_AFTER_MS = 60_000;
const LONGEST_DELAY_MS = 15_000;
/** Maximum number of installations of one publish. The second one is new, so more are needed only if a server errs. */
const MAX_RENEWALS = 3;

/** All publishes that are not settled. */
export class Outbox {
  readonly #entries = new Map<number, Entry>();
  readonly #failed = new Map<number, Failed>();
  /** The publishes of each conversation, in order. */
  readonly #queues = new Map<string, number[]>();
  readonly #numbered = new Map<number, Entry>();
  /** Publishes that are saved, and neither sent nor delayed. */
  readonly #ready = new Set<number>();
  readonly #delayed = new Map<number, number>();
  /** Unanswered publishes, with the time of the next attempt. */
  readonly #sent = new Map<number, number>();
  readonly #unsaved = new Set<number>();
  readonly #settled: Settled[] = [];
  #nextNumber: number;
  #renewed: bigint | undefined;
  /** The highest local id passed in. */
  lastLocalId = 0;

  /**
   * `installation` is that of the store, which encrypts the origins. `renewed` is the installation of new numbers, if it is
   * another one.
   */
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

  /** Takes a publish that was appended since the store was loaded. Ignores one that is known already. */
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

  /** Returns the next frame to send. It counts as sent. */
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
        // Another server may have a lower limit.
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

  /** Takes the server's answer. Ignores one to a publish that is settled already. */
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
    // A refusal says nothing about earlier attempts, so it must not permit another one.
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

  /** Sends unanswered publishes again, since their answers are lost. */
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

  /** Forgets a send. Returns `false` if it may have been sent, or is unknown. */
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

  /** Returns the unsettled and the failed sends, in order. */
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

  /** Returns the publishes to save and to forget. They count as saved. */
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

  /** The publishes are saved, so their numbers can be used. */
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

  /** Keeps a failure until it is discarded or retried. */
  #fail(localId: number, failed: Failed): void {
    this.#settled.push({ localId, error: errorOf(failed.failure) });
    this.#failed.set(localId, failed);
    if (this.#failed.size <= MAX_FAILED) return;
    const oldest = Math.min(...this.#failed.keys());
    this.#failed.delete(oldest);
    this.#unsaved.add(oldest);
  }

  /** Removes a publish, and releases the next one of its conversation. */
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

/** Returns `true` if the attempt certainly had no effect. */
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

/** Returns the error of a frame that exceeds the server's limit. */
export function tooLarge(bytes: number, limit: number): ImError {
  return new ImError("too_large", `the message takes ${bytes} bytes, and the limit is ${limit}: send less, or put media where a URL leads to`);
}
