import { useCallback, useRef, useSyncExternalStore } from "react";
import { onForget } from "./cache";

interface Options<T> {
  /** Loads some at once. What is not in the answer does not exist. */
  readonly load: (ids: readonly string[]) => Promise<ReadonlyMap<string, T>>;
  /** Until when a value may be used; without it, until it is invalidated. */
  readonly endsAt?: (value: T) => number;
}

const MAX_BATCH = 100;
const RETRY_MS = 5000;

/** Values by id. What components ask for in the same moment is loaded in one request. */
export class Batch<T> {
  readonly #values = new Map<string, T>();
  readonly #wanted = new Set<string>();
  readonly #asked = new Set<string>();
  readonly #used = new Map<string, number>();
  readonly #listeners = new Set<() => void>();
  #isDue = false;

  constructor(readonly options: Options<T>) {
    onForget(() => {
      this.#values.clear();
      this.#asked.clear();
    });
  }

  readonly get = (id: string): T | undefined => this.#values.get(id);

  /** Calls the listener whenever something changes, and keeps these ids fresh meanwhile. */
  use(ids: readonly string[], listener: () => void): () => void {
    this.#listeners.add(listener);
    for (const id of ids) {
      this.#used.set(id, (this.#used.get(id) ?? 0) + 1);
      this.#want(id);
    }
    return () => {
      this.#listeners.delete(listener);
      for (const id of ids) {
        const left = (this.#used.get(id) ?? 1) - 1;
        if (left > 0) this.#used.set(id, left);
        else this.#used.delete(id);
      }
    };
  }

  /** Puts in values that came another way. */
  put(values: Iterable<readonly [string, T]>): void {
    for (const [id, value] of values) this.#values.set(id, value);
    this.#tell();
  }

  /** Loads some ids anew, or all of them: at once if they are in use. The old values stand until then. */
  invalidate(ids: readonly string[] = [...this.#values.keys(), ...this.#asked]): void {
    for (const id of ids) {
      this.#asked.delete(id);
      if (this.#used.has(id)) this.#want(id);
      else this.#values.delete(id);
    }
  }

  #want(id: string): void {
    if (this.#asked.has(id)) return;
    this.#asked.add(id);
    this.#wanted.add(id);
    if (this.#isDue) return;
    this.#isDue = true;
    queueMicrotask(() => {
      this.#isDue = false;
      const ids = [...this.#wanted];
      this.#wanted.clear();
      for (let start = 0; start < ids.length; start += MAX_BATCH) void this.#load(ids.slice(start, start + MAX_BATCH));
    });
  }

  async #load(ids: readonly string[]): Promise<void> {
    try {
      const loaded = await this.options.load(ids);
      for (const [id, value] of loaded) {
        this.#values.set(id, value);
        const endsAt = this.options.endsAt?.(value);
        if (endsAt !== undefined) this.#renewAt(id, endsAt);
      }
      this.#tell();
    } catch {
      setTimeout(() => this.invalidate(ids), RETRY_MS);
    }
  }

  #renewAt(id: string, endsAt: number): void {
    setTimeout(() => this.invalidate([id]), Math.max(RETRY_MS, endsAt - Date.now()));
  }

  #tell(): void {
    for (const listener of this.#listeners) listener();
  }
}

/** Returns the values of some ids that are known; the same map as long as none of them changes. */
export function useBatch<T>(batch: Batch<T>, ids: readonly string[]): ReadonlyMap<string, T> {
  const key = ids.join("\n");
  const last = useRef<ReadonlyMap<string, T>>(new Map());
  const subscribe = useCallback((listener: () => void) => batch.use(key.split("\n").filter(Boolean), listener), [batch, key]);
  const look = useCallback((): ReadonlyMap<string, T> => {
    const wanted = key.split("\n").filter(Boolean);
    const now = new Map(wanted.flatMap((id) => (batch.get(id) === undefined ? [] : [[id, batch.get(id) as T] as const])));
    const isSame = now.size === last.current.size && [...now].every(([id, value]) => last.current.get(id) === value);
    if (!isSame) last.current = now;
    return last.current;
  }, [batch, key]);
  return useSyncExternalStore(subscribe, look);
}
