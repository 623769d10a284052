import { useSyncExternalStore } from "react";
import { setRefusals } from "./errors";
import { api, beginSession, endSession, onSession, open, refreshSession } from "./http";
import { ApiError } from "./errors";
import { forgetAll } from "./cache";
import type { Text } from "../text";
import type { Me, Session, User } from "./types";

/** `unknown` until the first answer. Without one, who was signed in here last still is, as far as this device goes. */
export type SessionState = { readonly status: "unknown" } | { readonly status: "signed_out" } | { readonly status: "signed_in"; readonly me: Me };

/** Who was signed in here last: the page opens without the back end, as far as this device's store reaches. */
const LAST_ME = "chat.me";
let tabs: BroadcastChannel | undefined;
const listeners = new Set<() => void>();
let state: SessionState = { status: "unknown" };

function set(next: SessionState): void {
  state = next;
  for (const listener of listeners) listener();
}

function setMe(me: Me): void {
  localStorage.setItem(LAST_ME, JSON.stringify(me));
  set({ status: "signed_in", me });
}

function leave(): void {
  endSession();
  forgetAll();
  localStorage.removeItem(LAST_ME);
  set({ status: "signed_out" });
}

function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

export function useSession(): SessionState {
  return useSyncExternalStore(subscribe, () => state);
}

/** Returns the user who is signed in. Only below the sign-in page. */
export function useMe(): Me {
  const session = useSession();
  if (session.status !== "signed_in") throw new Error("nobody is signed in: show this only below the sign-in page");
  return session.me;
}

/** Finds out whether somebody is signed in, and follows other tabs. */
export async function startSession(): Promise<void> {
  onSession({ refreshed: ({ me }) => setMe(me), signedOut: leave });
  tabs = new BroadcastChannel("chat.session");
  tabs.onmessage = ({ data }: MessageEvent<unknown>) => {
    if (data === "left") leave();
    else if (state.status !== "signed_in") void resumeSession();
  };
  void loadRefusals();
  await resumeSession();
}

export async function resumeSession(): Promise<void> {
  // Nobody was signed in here, so there is no cookie to ask with.
  if (localStorage.getItem(LAST_ME) === null) {
    set({ status: "signed_out" });
    return;
  }
  try {
    await refreshSession();
  } catch (error) {
    if (error instanceof ApiError && error.status === 401) return;
    const last = localStorage.getItem(LAST_ME);
    if (last !== null) set({ status: "signed_in", me: JSON.parse(last) as Me });
  }
}

async function loadRefusals(): Promise<void> {
  const answer = await open.get<{ refusals: readonly { number: number; text: Text }[] }>("/api/refusals").catch(() => undefined);
  if (answer) setRefusals(new Map(answer.refusals.map(({ number, text }) => [number, text])));
}

async function begin(path: string, body: Readonly<Record<string, string>>): Promise<void> {
  const session = await open.post<Session>(path, { ...body, device_name: deviceName() });
  beginSession(session);
  setMe(session.me);
  tabs?.postMessage("entered");
}

export const signIn = (id: string, password: string): Promise<void> => begin("/api/sessions", { id, password });
export const signInByCode = (address: string, code: string): Promise<void> => begin("/api/sessions/by-code", { address, code });
export const signInAsDemo = (id: string): Promise<void> => begin("/api/demo/sessions", { id });
export const signUp = (account: { readonly id: string; readonly name: string; readonly password: string; readonly language: string }): Promise<void> => begin("/api/accounts", account);
export const requestCode = (address: string): Promise<unknown> => open.post("/api/sessions/code", { address });
export const demoUsers = async (): Promise<readonly User[]> => (await open.get<{ users: readonly User[] }>("/api/demo")).users;

/** Signs out here, or on all devices. It counts even if the back end cannot be told. */
export async function signOut(everywhere = false): Promise<void> {
  await api.delete(everywhere ? "/api/sessions" : "/api/sessions/current").catch(() => undefined);
  tabs?.postMessage("left");
  leave();
}

/** Changes the own profile. */
export async function updateMe(change: Partial<Pick<Me, "name" | "about" | "avatar" | "language" | "address">>): Promise<void> {
  setMe(await api.patch<Me>("/api/me", change));
}

export async function reloadMe(): Promise<void> {
  const me = await api.get<Me>("/api/me");
  if (state.status === "signed_in") setMe(me);
}

/** Returns a name for this browser that its owner recognises. */
function deviceName(): string {
  const agent = navigator.userAgent;
  const browser = /Edg\//.test(agent) ? "Edge" : /Firefox\//.test(agent) ? "Firefox" : /Chrom(e|ium)\//.test(agent) ? "Chrome" : /Safari\//.test(agent) ? "Safari" : "Browser";
  const system = /Android/.test(agent) ? "Android" : /iPhone|iPad/.test(agent) ? "iOS" : /Windows/.test(agent) ? "Windows" : /Mac OS/.test(agent) ? "macOS" : "Linux";
  return `${browser}, ${system}`;
}
