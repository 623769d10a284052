import type { Client } from "@im-sdk/client";
import { useSyncExternalStore } from "react";
import { connect } from "./connect";

type Opening = { readonly user: string; readonly client?: Client; readonly error?: unknown };

const CLOSE_MS = 500;
const listeners = new Set<() => void>();
let opening: Opening | undefined;

function set(next: Opening | undefined): void {
  opening = next;
  for (const listener of listeners) listener();
}

/** Opens the client of a user. There is one in a page, whatever mounts and unmounts. */
export function openClient(user: string): void {
  if (opening?.user === user && opening.error === undefined) return;
  closeClient();
  const mine: Opening = { user };
  set(mine);
  void connect(user).then(
    (client) => {
      if (opening === mine) set({ user, client });
      else void client.close(0);
    },
    (error: unknown) => {
      if (opening === mine) set({ user, error });
    },
  );
}

/** Closes the client, as after signing out. What was not sent stays in the store of the account. */
export function closeClient(): void {
  void opening?.client?.close(CLOSE_MS);
  set(undefined);
}

function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

/** Returns the client that `openClient` opens. */
export function useOpenClient(): Opening | undefined {
  return useSyncExternalStore(subscribe, () => opening);
}
