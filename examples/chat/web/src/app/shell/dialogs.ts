import { useSyncExternalStore } from "react";

export type DialogName = "switcher" | "shortcuts" | "create-group" | "add-friend";

const listeners = new Set<() => void>();
let opened: DialogName | undefined;

/** Opens one of the dialogs that many places lead to, or closes it. */
export function openDialog(name: DialogName | undefined): void {
  opened = name;
  for (const listener of listeners) listener();
}

function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

export function useOpenDialog(): DialogName | undefined {
  return useSyncExternalStore(subscribe, () => opened);
}
