import { ImError } from "../errors.js";
import { MAX_OUTBOX, randomBits, randomDeviceId, retryOf, skipped, type Batch, type Saved, type SavedCursor, type SavedMarks, type SavedPublish, type Store } from "./store.js";

/** A store that lasts as long as the object, for tests and for devices that are new at each start. */
export class MemoryStore implements Store {
  #user = "";
  #nextNumber = 1;
  #nextLocalId: number;
  readonly #device: string;
  readonly #installation: bigint;
  #renewed: bigint | undefined;
  readonly #cursors = new Map<string, SavedCursor>();
  readonly #outbox = new Map<number, SavedPublish>();
  readonly #marks = new Map<string, SavedMarks>();

  /** Creates a store with the contents of another one, or part of them. Local ids start at `nextLocalId`. */
  constructor(saved: Partial<Saved> & { nextLocalId?: number } = {}) {
    const { user = "", device = randomDeviceId(), installation = randomBits(), renewed, nextNumber = 1 } = saved;
    const { cursors = [], outbox = [], marks = [] } = saved;
    [this.#user, this.#device, this.#installation, this.#renewed, this.#nextNumber] = [user, device, installation, renewed, nextNumber];
    for (const cursor of cursors) this.#cursors.set(cursor.channel, cursor);
    for (const publish of outbox) this.#outbox.set(publish.localId, publish);
    for (const one of marks) this.#marks.set(one.to, one);
    // The local id is the number of a publish.
    this.#nextLocalId = Math.max(saved.nextLocalId ?? 1, nextNumber, ...outbox.map(({ localId }) => localId + 1));
  }

  load(): Promise<Saved> {
    this.#nextLocalId += skipped(this.#nextLocalId);
    return Promise.resolve(this.saved());
  }

  /** Returns the contents, as {@link load} does. */
  saved(): Saved {
    return {
      user: this.#user,
      device: this.#device,
      installation: this.#installation,
      renewed: this.#renewed,
      nextNumber: this.#nextNumber,
      cursors: [...this.#cursors.values()],
      outbox: this.#after(0),
      marks: [...this.#marks.values()],
    };
  }

  append(to: string, content: Uint8Array, installation = this.#renewed): Promise<number> {
    if (this.#outbox.size >= MAX_OUTBOX) return Promise.reject(queueFull());
    const localId = this.#nextLocalId++;
    this.#outbox.set(localId, { localId, number: 0, installation, to, content });
    return Promise.resolve(localId);
  }

  retry(localId: number): Promise<SavedPublish | undefined> {
    const failed = this.#outbox.get(localId);
    if (!failed?.failure) return Promise.resolve(undefined);
    const retry = retryOf(failed, this.#nextLocalId++);
    this.#outbox.delete(localId);
    this.#outbox.set(retry.localId, retry);
    return Promise.resolve(retry);
  }

  appended(after: number): Promise<SavedPublish[]> {
    return Promise.resolve(this.#after(after));
  }

  save(batch: Batch): Promise<void> {
    this.#user = batch.user;
    this.#nextNumber = batch.nextNumber;
    this.#renewed = batch.renewed;
    for (const channel of batch.left) this.#cursors.delete(channel);
    for (const cursor of batch.cursors) this.#cursors.set(cursor.channel, cursor);
    for (const publish of batch.put) this.#outbox.set(publish.localId, publish);
    for (const localId of batch.remove) this.#outbox.delete(localId);
    for (const marks of batch.marks) {
      if (marks.marks.length > 0) this.#marks.set(marks.to, marks);
      else this.#marks.delete(marks.to);
    }
    return Promise.resolve();
  }

  close(): Promise<void> {
    return Promise.resolve();
  }

  #after(localId: number): SavedPublish[] {
    return [...this.#outbox.values()].filter((publish) => publish.localId > localId).sort((one, other) => one.localId - other.localId);
  }
}

/** Returns the error of a full outbox. */
export function queueFull(): ImError {
  return new ImError("queue_full", `${MAX_OUTBOX} messages wait to be sent: send again when some of them are settled, or discard some`);
}
