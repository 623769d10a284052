/**
 * What a device must not forget: its place in each log, what it has not sent yet, and its numbers.
 *
 * ```text
 *  send()  --> append ------------------> send() resolves: it is taken, whatever happens to this process
 *  ack()   --> cursors -+
 *  answers --> outbox --+--> save(one batch, atomic) --> the publish may travel, under its number
 *  marks   --> marks   -+
 * ```
 */
import type { ImError } from "../errors.js";

/** How far the application has dealt with a log. */
export interface SavedCursor {
  /** The channel; empty: the inbox. */
  readonly channel: string;
  readonly seq: number;
  readonly id: bigint;
}

/** A publish that is not settled. */
export interface SavedPublish {
  /** Counts the sends of a store, from 1. */
  readonly localId: number;
  /** The number that it travels under, which is its local id; 0: it never travelled. An earlier version gave other numbers. */
  readonly number: number;
  /** The installation that the number is of; by default the store's. What failed has the one under which a retry travels. */
  readonly installation?: bigint | undefined;
  /** The local id of the failed publish that this one retries. */
  readonly retries?: number | undefined;
  /** The user or the channel that it is for, as `@user` or `#channel`. */
  readonly to: string;
  /** The encoded `Content`: a repetition is the same, byte for byte. */
  readonly content: Uint8Array;
  /** Why it failed for good. */
  readonly failure?: SavedFailure | undefined;
}

/** Why a publish failed for good. */
export interface SavedFailure {
  readonly code: ImError["code"];
  readonly message: string;
  readonly refusal?: ImError["refusal"];
}

/** What was set in a conversation and no back end has taken yet, in the order in which it was set. */
export interface SavedMarks {
  /** The conversation, as `@user` or `#channel`. */
  readonly to: string;
  readonly marks: readonly { readonly setAtMs: number; readonly mark: Uint8Array }[];
}

/** What a store holds. */
export interface Saved {
  /** The user that all of this belongs to; empty until the first connection. */
  readonly user: string;
  /** The device id; drawn with the store. */
  readonly device: string;
  /** Tells this store from every other store that the device ever had. By it the device knows its own messages again. */
  readonly installation: bigint;
  /** The installation of what is appended from now on, where another one took the place of the store's. */
  readonly renewed?: bigint | undefined;
  readonly nextNumber: number;
  readonly cursors: readonly SavedCursor[];
  /** What is not settled, in the order of `localId`. */
  readonly outbox: readonly SavedPublish[];
  readonly marks: readonly SavedMarks[];
}

/** Changes that belong together. */
export interface Batch {
  readonly user: string;
  readonly nextNumber: number;
  /** Replaces the installation of what is appended from now on. */
  readonly renewed?: bigint | undefined;
  /** Replace those of the same channel. */
  readonly cursors: readonly SavedCursor[];
  /** Channels whose cursors are to be forgotten. */
  readonly left: readonly string[];
  /** Replace those of the same `localId`. */
  readonly put: readonly SavedPublish[];
  /** Local ids of publishes to forget. */
  readonly remove: readonly number[];
  /** Replace those of the same conversation; one without marks is to be forgotten. */
  readonly marks: readonly SavedMarks[];
}

/** How many publishes a store takes that are not settled. */
export const MAX_OUTBOX = 1000;

/** Keeps what a device must not forget. One store belongs to one user on one device. */
export interface Store {
  /**
   * Returns everything that was saved. A new store draws its device id and its installation. Another one skips some local ids, see
   * {@link skipped}.
   */
  load(): Promise<Saved>;

  /**
   * Adds a publish and returns its local id: higher than all before it, also over restarts. When the promise resolves the
   * publish survives the end of the process. `installation` is that of its number, by default the one that counts for the store.
   *
   * @throws `ImError` with the code `queue_full` where {@link MAX_OUTBOX} wait already, or `store`.
   */
  append(to: string, content: Uint8Array, installation?: bigint): Promise<number>;

  /**
   * Replaces a failed publish by a new one with the same content, and returns that; `undefined` where none failed under this local id.
   *
   * @throws `ImError` with the code `store`.
   */
  retry(localId: number): Promise<SavedPublish | undefined>;

  /** Returns the publishes with a higher local id, in order. */
  appended(after: number): Promise<SavedPublish[]>;

  /** Saves all of a batch or nothing of it. */
  save(batch: Batch): Promise<void>;

  /** Lets go of files and handles. What was saved stays. */
  close(): Promise<void>;
}

/**
 * Returns how many local ids a store skips when it is loaded: none where none was given. A store that comes back from a backup thus
 * hardly ever gives an id that it gave before, and a new message is not taken for an old one that says the same.
 */
export function skipped(nextLocalId: number): number {
  return nextLocalId > 1 ? 1 + Number(randomBits() % 4096n) : 0;
}

/** Returns the publish by which a store replaces a failed one. */
export function retryOf({ localId, installation, to, content }: SavedPublish, next: number): SavedPublish {
  return { localId: next, number: 0, installation, retries: localId, to, content };
}

/** Returns random bits that are not 0, for an installation. */
export function randomBits(): bigint {
  const bits = crypto.getRandomValues(new BigUint64Array(1))[0] as bigint;
  return bits === 0n ? 1n : bits;
}

/** Returns a random device id. */
export function randomDeviceId(): string {
  return randomBits().toString(36) + randomBits().toString(36);
}
