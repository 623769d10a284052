import { ImError } from "../errors.js";
import { queueFull } from "./memory.js";
import { MAX_OUTBOX, randomBits, randomDeviceId, retryOf, skipped, type Batch, type Saved, type SavedCursor, type SavedMarks, type SavedPublish, type Store } from "./store.js";

/** Settings of {@link IndexedDbStore.open}. */
export interface IndexedDbOptions {
  /** The factory of databases; by default the platform's `indexedDB`. */
  readonly factory?: IDBFactory;
  /** Asks the browser to keep the data when space runs low; on by default. Firefox asks the user. */
  readonly persist?: boolean;
}

interface Meta {
  readonly user: string;
  readonly device: string;
  readonly installation: bigint;
  readonly renewed?: bigint | undefined;
  readonly nextNumber: number;
  readonly nextLocalId: number;
  /** The number of times that the store was claimed. */
  readonly epoch: number;
}

type Table = "meta" | "cursors" | "outbox" | "marks";
const KEYS: Readonly<Record<Exclude<Table, "meta">, string>> = { cursors: "channel", outbox: "localId", marks: "to" };
const TABLES: Table[] = ["meta", "cursors", "outbox", "marks"];
const META = "meta";
const ATTEMPTS = 3;
const PAUSE_MS = 100;
/** Time limit of a transaction: a page that was stopped during one keeps all others waiting. */
const TRANSACTION_MS = 10_000;

/** Failures of the connection to the database after which it is reopened. WebKit cuts the connections of pages in the background. */
const LOST = new Set(["InvalidStateError", "UnknownError", "AbortError", "TransactionInactiveError"]);

/**
 * A store in IndexedDB, with one database for each account. Several tabs may share it.
 *
 * If the database keeps failing, the client continues in memory and emits the event `store_lost`.
 */
export class IndexedDbStore implements Store {
  #database: IDBDatabase | undefined;
  #opening: Promise<IDBDatabase> | undefined;
  #closed = false;
  #epoch: number | undefined;
  #isExclusive = false;

  private constructor(
    readonly name: string,
    readonly factory: IDBFactory,
  ) {}

  /**
   * Opens the store of an account: any name that distinguishes the users of this browser, such as the user id.
   *
   * @throws {@link ImError} with the code `store` if there is no IndexedDB, as in some private windows.
   */
  static async open(account: string, options: IndexedDbOptions = {}): Promise<IndexedDbStore> {
    const factory = options.factory ?? (globalThis as { indexedDB?: IDBFactory }).indexedDB;
    if (!factory) throw new ImError("store", "this platform has no IndexedDB: use a MemoryStore, or a store of your own");
    const store = new IndexedDbStore(`im-sdk:${account}`, factory);
    await store.#retry(() => store.#open());
    const storage = (globalThis as { navigator?: Partial<Navigator> }).navigator?.storage;
    if (options.persist !== false && !options.factory) storage?.persist?.().catch(() => false);
    return store;
  }

  load(): Promise<Saved> {
    return this.#transact("readwrite", async (tables) => {
      const meta = await this.#meta(tables);
      const { user, device, installation, renewed, nextNumber, nextLocalId } = meta;
      tables("meta").put({ ...meta, nextLocalId: nextLocalId + skipped(nextLocalId) } satisfies Meta, META);
      const [cursors, outbox, marks] = await Promise.all([
        done(tables("cursors").getAll() as IDBRequest<SavedCursor[]>),
        done(tables("outbox").getAll() as IDBRequest<SavedPublish[]>),
        done(tables("marks").getAll() as IDBRequest<SavedMarks[]>),
      ]);
      return { user, device, installation, renewed, nextNumber, cursors, outbox, marks };
    });
  }

  async append(to: string, content: Uint8Array, installation?: bigint): Promise<number> {
    const isSame = (there: SavedPublish): boolean => there.to === to && String(there.content) === String(content);
    const { localId } = await this.#add(isSame, async (tables, meta): Promise<SavedPublish> => {
      if ((await done(tables("outbox").count())) >= MAX_OUTBOX) throw queueFull();
      return { localId: meta.nextLocalId, number: 0, installation: installation ?? meta.renewed, to, content };
    });
    return localId;
  }

  retry(localId: number): Promise<SavedPublish | undefined> {
    return this.#add(({ retries }) => retries === localId, async (tables, meta) => {
      const failed = (await done(tables("outbox").get(localId))) as SavedPublish | undefined;
      if (!failed?.failure) return undefined;
      tables("outbox").delete(localId);
      return retryOf(failed, meta.nextLocalId);
    });
  }

  appended(after: number): Promise<SavedPublish[]> {
    return this.#transact("readonly", async (tables) => {
      const all = (await done(tables("outbox").getAll(afterKey(after)))) as SavedPublish[];
      return all.filter(({ localId }) => localId > after);
    });
  }

  save(batch: Batch): Promise<void> {
    return this.#transact("readwrite", async (tables) => {
      const meta = await this.#meta(tables);
      this.#checkEpoch(meta);
      tables("meta").put({ ...meta, user: batch.user, nextNumber: batch.nextNumber, renewed: batch.renewed } satisfies Meta, META);
      for (const channel of batch.left) tables("cursors").delete(channel);
      for (const cursor of batch.cursors) tables("cursors").put(cursor);
      for (const publish of batch.put) tables("outbox").put(publish);
      for (const localId of batch.remove) tables("outbox").delete(localId);
      for (const marks of batch.marks) {
        if (marks.marks.length > 0) tables("marks").put(marks);
        else tables("marks").delete(marks.to);
      }
    });
  }

  /**
   * Makes this the only object that may save. Objects that claimed the database earlier are fenced off; those with an exclusive
   * claim cannot append either. Returns the epoch.
   */
  claim(isExclusive = false): Promise<number> {
    this.#isExclusive = isExclusive;
    return this.#transact("readwrite", async (tables) => {
      const meta = await this.#meta(tables);
      const epoch = meta.epoch + 1;
      tables("meta").put({ ...meta, epoch } satisfies Meta, META);
      return epoch;
    }).then((epoch) => (this.#epoch = epoch));
  }

  /** Returns `true` if nobody has claimed the database since this object did. */
  async isClaimed(): Promise<boolean> {
    const meta = await this.#transact("readwrite", (tables) => this.#meta(tables));
    return meta.epoch === this.#epoch;
  }

  close(): Promise<void> {
    this.#closed = true;
    this.#database?.close();
    this.#database = undefined;
    return Promise.resolve();
  }

  /** Adds the publish that `make` returns under the next local id, if it returns one. `isSame` recognizes it after a repeated attempt. */
  #add<P extends SavedPublish | undefined>(isSame: (there: SavedPublish) => boolean, make: (tables: (table: Table) => IDBObjectStore, meta: Meta) => Promise<P>): Promise<P> {
    let tried = 0;
    return this.#transact("readwrite", async (tables) => {
      const meta = await this.#meta(tables);
      if (this.#isExclusive) this.#checkEpoch(meta);
      // The connection may have been cut after the commit.
      const there = tried > 0 ? ((await done(tables("outbox").get(tried))) as P) : undefined;
      if (there && isSame(there)) return there;
      const publish = await make(tables, meta);
      if (publish) {
        tried = publish.localId;
        tables("outbox").put(publish);
        tables("meta").put({ ...meta, nextLocalId: tried + 1 } satisfies Meta, META);
      }
      return publish;
    });
  }

  #checkEpoch(meta: Meta): void {
    if (this.#epoch !== undefined && meta.epoch !== this.#epoch) throw new ImError("closed", "another tab has the store, so this one must not write to it");
  }

  /** Returns the first record, and creates it in a new database. */
  async #meta(tables: (table: Table) => IDBObjectStore): Promise<Meta> {
    const there = (await done(tables("meta").get(META))) as Meta | undefined;
    if (there) return there;
    const meta: Meta = { user: "", device: randomDeviceId(), installation: randomBits(), nextNumber: 1, nextLocalId: 1, epoch: 0 };
    tables("meta").put(meta, META);
    return meta;
  }

  #open(): Promise<IDBDatabase> {
    if (this.#database) return Promise.resolve(this.#database);
    this.#opening ??= new Promise<IDBDatabase>((resolve, reject) => {
      const request = this.factory.open(this.name, 1);
      request.onupgradeneeded = () => {
        for (const table of TABLES) request.result.createObjectStore(table, table === "meta" ? {} : { keyPath: KEYS[table] });
      };
      request.onsuccess = () => {
        const database = request.result;
        const lose = (): void => {
          if (this.#database === database) this.#database = undefined;
          database.close();
        };
        database.onclose = lose;
        database.onversionchange = lose;
        this.#database = database;
        resolve(database);
      };
      request.onerror = () => reject(request.error ?? new Error("the database could not be opened"));
      request.onblocked = () => reject(new Error("another tab holds an older version of the database open"));
    }).finally(() => (this.#opening = undefined));
    return this.#opening;
  }

  /** Runs a transaction, and resolves when it is on disk. */
  #transact<T>(mode: IDBTransactionMode, what: (tables: (table: Table) => IDBObjectStore) => Promise<T>): Promise<T> {
    return this.#retry(async () => {
      const database = await this.#open();
      const transaction = database.transaction(TABLES, mode, { durability: "strict" });
      const complete = new Promise<void>((resolve, reject) => {
        transaction.oncomplete = () => resolve();
        transaction.onabort = () => reject(transaction.error ?? new DOMException("the transaction was cut", "AbortError"));
      });
      complete.catch(() => {});
      const abort = (): void => {
        try {
          transaction.abort();
        } catch {
          // The transaction has ended already.
        }
      };
      let late: DOMException | undefined;
      const timer = setTimeout(() => {
        late = new DOMException(`nothing came of it within ${TRANSACTION_MS / 1000} s`, "TimeoutError");
        abort();
      }, TRANSACTION_MS);
      try {
        const result = await what((table) => transaction.objectStore(table));
        await complete;
        return result;
      } catch (error) {
        abort();
        throw late ?? error;
      } finally {
        clearTimeout(timer);
      }
    });
  }

  async #retry<T>(what: () => Promise<T>): Promise<T> {
    for (let attempt = 1; ; attempt++) {
      if (this.#closed) throw new ImError("closed", `the store ${this.name} is closed: open another one`);
      try {
        return await what();
      } catch (error) {
        if (error instanceof ImError) throw error;
        const { name, message } = error as Error;
        if (!LOST.has(name) || attempt === ATTEMPTS) {
          const hint = name === "QuotaExceededError" ? "the disk or the site's share of it is full: free some space" : "reload the page, or go on with a MemoryStore";
          throw new ImError("store", `the database ${this.name} failed (${name}: ${message}): ${hint}`, undefined, { cause: error });
        }
        this.#database?.close();
        this.#database = undefined;
        await new Promise((resolve) => setTimeout(resolve, PAUSE_MS * (attempt - 1)));
      }
    }
  }
}

function done<T>(request: IDBRequest<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error ?? new Error("a request to the database failed"));
  });
}

/** Returns the range of keys after one, if the platform has key ranges. */
function afterKey(after: number): IDBKeyRange | null {
  const ranges = (globalThis as { IDBKeyRange?: typeof IDBKeyRange }).IDBKeyRange;
  return ranges ? ranges.lowerBound(after, true) : null;
}
