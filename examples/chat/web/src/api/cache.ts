import { useCallback, useSyncExternalStore } from "react";

/** What is known of something that the back end has. */
export interface Resource<T> {
  readonly value: T | undefined;
  readonly error: unknown;
  readonly isLoading: boolean;
}

interface Entry<T> {
  resource: Resource<T>;
  load: () => Promise<T>;
  readonly listeners: Set<() => void>;
  /** Raised by each change, so that an answer from before it is not taken. */
  version: number;
}

const NOTHING: Resource<never> = { value: undefined, error: undefined, isLoading: true };
const entries = new Map<string, Entry<unknown>>();
const forgetters = new Set<() => void>();

function entryOf<T>(key: string, load: () => Promise<T>): Entry<T> {
  const known = entries.get(key) as Entry<T> | undefined;
  if (known) {
    known.load = load;
    return known;
  }
  const entry: Entry<T> = { resource: NOTHING, load, listeners: new Set(), version: 0 };
  entries.set(key, entry as Entry<unknown>);
  return entry;
}

function set<T>(entry: Entry<T>, resource: Resource<T>): void {
  entry.resource = resource;
  for (const listener of entry.listeners) listener();
}

async function fetchInto<T>(entry: Entry<T>): Promise<void> {
  const version = ++entry.version;
  const { value } = entry.resource;
  set(entry, { value, error: undefined, isLoading: true });
  const next: Resource<T> = await entry.load().then(
    (loaded) => ({ value: loaded, error: undefined, isLoading: false }),
    (error: unknown) => ({ value, error, isLoading: false }),
  );
  if (version === entry.version) set(entry, next);
}

/** Returns a resource of the back end; loaded once for all that use it, and kept until it changes. */
export function useResource<T>(key: string | undefined, load: () => Promise<T>): Resource<T> {
  const entry = key === undefined ? undefined : entryOf(key, load);
  const subscribe = useCallback(
    (listener: () => void) => {
      if (!entry) return () => undefined;
      entry.listeners.add(listener);
      if (entry.version === 0 || (entry.resource.error !== undefined && !entry.resource.isLoading)) void fetchInto(entry);
      return () => entry.listeners.delete(listener);
    },
    [entry],
  );
  return useSyncExternalStore(subscribe, () => entry?.resource ?? NOTHING);
}

/** Loads anew what is in use among the resources whose key begins like this; the rest when it is used next. */
export function invalidate(prefix: string): void {
  for (const [key, entry] of entries) {
    if (!key.startsWith(prefix)) continue;
    if (entry.listeners.size > 0) void fetchInto(entry);
    else entry.version = 0;
  }
}

/** Puts in what an answer of the back end already said. */
export function put<T>(key: string, value: T): void {
  const entry = entries.get(key) as Entry<T> | undefined;
  if (!entry) return;
  entry.version += 1;
  set(entry, { value, error: undefined, isLoading: false });
}

/** Adds what else is to be forgotten at the end of a session. */
export function onForget(forget: () => void): void {
  forgetters.add(forget);
}

/** Forgets everything: what the next user sees may be different. */
export function forgetAll(): void {
  entries.clear();
  for (const forget of forgetters) forget();
}
