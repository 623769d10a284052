import type { Conversation } from "@im-sdk/client";
import { useSyncExternalStore } from "react";

/** What the address shows. */
export type Route =
  | { readonly name: "list" }
  | { readonly name: "conversation"; readonly conversation: Conversation; readonly at: number | undefined; /** The panel about the user or the group is open. */ readonly panel: boolean }
  | { readonly name: "people"; readonly tab: string | undefined }
  | { readonly name: "live"; readonly room: string | undefined }
  | { readonly name: "settings"; readonly page: string | undefined }
  | { readonly name: "join"; readonly token: string }
  | { readonly name: "unknown" };

const listeners = new Set<() => void>();
let href = "";
let route: Route = { name: "list" };

/** Reads an address. */
export function parseRoute(address: string): Route {
  const { pathname, searchParams } = new URL(address, "http://localhost");
  const [area = "", first, second] = pathname.split("/").filter(Boolean).map(decodeURIComponent);
  if (area === "") return { name: "list" };
  if (area === "c" && second !== undefined && (first === "u" || first === "g")) {
    const at = Number(searchParams.get("at"));
    const conversation = first === "u" ? { user: second } : { channel: second };
    return { name: "conversation", conversation, at: at > 0 ? at : undefined, panel: searchParams.has("info") };
  }
  if (area === "people") return { name: "people", tab: first };
  if (area === "live") return { name: "live", room: first };
  if (area === "settings") return { name: "settings", page: first };
  if (area === "join" && first !== undefined) return { name: "join", token: first };
  return { name: "unknown" };
}

/** Returns the address of a conversation: at a message in it, or with the panel about whom it is with. */
export function pathOf({ user, channel }: Conversation, at?: number, hasPanel = false): string {
  const path = user === undefined ? `/c/g/${encodeURIComponent(channel)}` : `/c/u/${encodeURIComponent(user)}`;
  if (hasPanel) return `${path}?info`;
  return at === undefined ? path : `${path}?at=${at}`;
}

function current(): Route {
  const now = location.pathname + location.search;
  if (now !== href) {
    href = now;
    route = parseRoute(now);
  }
  return route;
}

function tell(): void {
  for (const listener of listeners) listener();
}

/** The number of pages of this application that lie behind this one. */
const depth = (): number => (history.state as { depth?: number } | null)?.depth ?? 0;

/** Shows another address. `replace` leaves no step back to this one. */
export function navigate(path: string, { replace = false }: { readonly replace?: boolean } = {}): void {
  if (path === location.pathname + location.search) return;
  if (replace) history.replaceState({ depth: depth() }, "", path);
  else history.pushState({ depth: depth() + 1 }, "", path);
  tell();
}

/** Goes back as the browser's button does; to `fallback` where the page was opened by its address. */
export function goBack(fallback: string): void {
  if (depth() > 0) history.back();
  else navigate(fallback, { replace: true });
}

function subscribe(listener: () => void): () => void {
  if (listeners.size === 0) window.addEventListener("popstate", tell);
  listeners.add(listener);
  return () => {
    listeners.delete(listener);
    if (listeners.size === 0) window.removeEventListener("popstate", tell);
  };
}

export function useRoute(): Route {
  return useSyncExternalStore(subscribe, current);
}
