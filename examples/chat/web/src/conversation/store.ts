import { useCallback, useSyncExternalStore } from "react";

/** A value outside of React, of which components follow a part. */
export class Store<T> {
  #value: T;
  readonly #listeners = new Set<() => void>();

  constructor(value: T) {
    this.#value = value;
  }

  get value(): T {
    return this.#value;
  }

  readonly set = (change: Partial<T>): void => {
    this.#value = { ...this.#value, ...change };
    for (const listener of this.#listeners) listener();
  };

  readonly subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  };
}

/** Returns a part of a store's value. The part must be the same object as long as nothing in it changes. */
export function useStore<T, P>(store: Store<T>, part: (value: T) => P): P {
  const look = useCallback(() => part(store.value), [store, part]);
  return useSyncExternalStore(store.subscribe, look, look);
}
