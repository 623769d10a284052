/**
 * The persistent state of a device: its position in each log, its unsent messages, and its numbers.
 *
 * ```text
 *  send()  --> append ------------------> send() resolves: it is taken, whatever happens to this process
 *  ack()   --> cursors -+
 *  answers --> outbox --+--> save(one batch, atomic) --> the publish may travel, under its number
 *  marks   --> marks   -+
 * ```
 */
import type { ImError } from "../errors.js";

/** The position up to which the application has processed a log. */
export interface SavedCursor {
  /** The channel; empty for the inbox. */
  readonly channel: string;
  readonly seq: number;
  readonly id: bigint;
}

/** A publish that is not settled. */
export interface SavedPublish {
  /** Its number in the store, from 1. */
  readonly localId: number;
  /** The number under which it is sent, which is its local id; 0 if it was never sent. An earlier version gave other numbers. */
  readonly number: number;
  /** The installation of the number; by default the store's. A failed publish has the one of its retry. */
  readonly installation?: bigint | undefined;
  /** The local id of the failed publish that this one retries. */
  readonly retries?: number | undefined;
  /** The user or the channel that it is addressed to, as `@user` or `#channel`. */
  readonly to: string;
  /** The encoded `Content`. A repetition is identical, byte for byte. */
  readonly content: Uint8Array;
  /** The failure, if it failed for good. */
  readonly failure?: SavedFailure | undefined;
}

/** The failure of a publish for good. */
export interface SavedFailure {
  readonly code: ImError["code"];
  readonly message: string;
  readonly refusal?: ImError["refusal"];
}

/** Changes of a conversation that no back end has accepted yet, in order. */
export interface SavedMarks {
  /** The conversation, as `@user` or `#channel`. */
  readonly to: string;
  readonly marks: readonly { readonly setAtMs: number; readonly mark: Uint8Array }[];
}

/** The contents of a store. */
export interface Saved {
  /** The user of the store; empty until the first connection. */
  readonly user: string;
  /** The device id; created with the store. */
  readonly device: string;
  /** Distinguishes this store from every other store of the device. By it the device recognises its own messages. */
  readonly installation: bigint;
  /** The installation of new publishes, if it has replaced the store's. */
  readonly renewed?: bigint | undefined;
  readonly nextNumber: number;
  readonly cursors: readonly SavedCursor[];
  /** Unsettled publishes, in the order of `localId`. */
  readonly outbox: readonly SavedPublish[];
  readonly marks: readonly SavedMarks[];
}

/** Changes that are saved together. */
export interface Batch {
  readonly user: string;
  readonly nextNumber: number;
  /** Replaces the installation of new publishes. */
  readonly renewed?: bigint | undefined;
  /** Replace the cursors of the same channels. */
  readonly cursors: readonly SavedCursor[];
  /** Channels whose cursors to remove. */
  readonly left: readonly string[];
  /** Replace the publishes with the same `localId`. */
  readonly put: readonly SavedPublish[];
  /** Local ids of publishes to remove. */
  readonly remove: readonly number[];
  /** Replace the marks of the same conversation; an entry without marks removes them. */
  readonly marks: readonly SavedMarks[];
}

/** Maximum number of unsettled publishes in a store. */
export const MAX_OUTBOX = 1000;

/** Stores the persistent state of a device. One store belongs to one user on one device. */
export interface Store {
  /**
   * Returns everything that was saved. A new store creates its device id and its installation. An existing one skips some local
   * ids, see {@link skipped}.
   */
  load(): Promise<Saved>;

  /**
   * Adds a publish and returns its local id, which is higher than all earlier ones, even over restarts. When the promise
   * resolves, the publish survives the end of the process. `installation` is that of its number, by default the store's current
   * one.
   *
   * @throws `ImError` with the code `queue_full` if {@link MAX_OUTBOX} are waiting already, or `store`.
   */
  append(to: string, content: Uint8Array, installation?: bigint): Promise<number>;

  /**
   * Replaces a failed publish by a new one with the same content, and returns that; `undefined` if none failed with this local
   * id.
   *
   * @throws `ImError` with the code `store`.
   */
  retry(localId: number): Promise<SavedPublish | undefined>;

  /** Returns the publishes with a higher local id, in order. */
  appended(after: number): Promise<SavedPublish[]>;

  /** Saves a batch atomically. */
  save(batch: Batch): Promise<void>;

  /** Releases files and handles. The saved data stays. */
  close(): Promise<void>;
}

/**
 * Returns the number of local ids that a store skips when it is loaded: none if it has not assigned any. A store that was
 * restored from a backup thus hardly ever repeats an id, and a new message is not taken for an old one with the same text.
 */
export function skipped(nextLocalId: number): number {
  return nextLocalId > 1 ? 1 + Number(randomBits() % 4096n) : 0;
}

/** Returns the publish that replaces a failed one. */
export function retryOf({ localId, installation, to, content }: SavedPublish, next: number): SavedPublish {
  return { localId: next, number: 0, installation, retries: localId, to, content };
}

/** Returns random bits other than 0, for an installation. */
export function randomBits(): bigint {
  const bits = crypto.getRandomValues(new BigUint64Array(1))[0] as bigint;
  return bits === 0n ? 1n : bits;
}

/** Returns a random device id. */
export function randomDeviceId(): string {
  return randomBits().toString(36) + randomBits().toString(36);
}
