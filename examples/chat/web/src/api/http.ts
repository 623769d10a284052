import { ApiError } from "./errors";
import type { Session } from "./types";

type Method = "GET" | "POST" | "PUT" | "PATCH" | "DELETE";

export interface RequestOptions {
  readonly signal?: AbortSignal | undefined;
  readonly headers?: Readonly<Record<string, string>>;
}

/** Spare time for the way of a request. */
const EARLY_MS = 15_000;
const LOCK = "chat.refresh";

/** The access token, in memory alone: a script of another page cannot find it. */
let access: { readonly token: string; readonly endsAt: number } | undefined;
let refreshing: Promise<Session> | undefined;
let signedOut: (() => void) | undefined;
let refreshed: ((session: Session) => void) | undefined;

/** Takes a session that has begun. */
export function beginSession({ access_token, expires_in_ms }: Session): void {
  access = { token: access_token, endsAt: Date.now() + expires_in_ms };
}

export function endSession(): void {
  access = undefined;
}

/** Sets what is called when a session was renewed, and when there is none any more. */
export function onSession(handlers: { readonly refreshed: (session: Session) => void; readonly signedOut: () => void }): void {
  ({ refreshed, signedOut } = handlers);
}

/** Renews the session by the cookie. Tabs share the cookie, so one of them does it at a time. */
export function refreshSession(): Promise<Session> {
  refreshing ??= withLock(() => request<Session>("POST", "/api/sessions/refresh", {}, undefined, {}))
    .then((session) => {
      beginSession(session);
      refreshed?.(session);
      return session;
    })
    .catch((error: unknown) => {
      if (error instanceof ApiError && error.status === 401) {
        endSession();
        signedOut?.();
      }
      throw error;
    })
    .finally(() => (refreshing = undefined));
  return refreshing;
}

/** Pages over plain HTTP have no Web Locks. */
async function withLock<T>(task: () => Promise<T>): Promise<T> {
  if (!("locks" in navigator)) return task();
  return await navigator.locks.request(LOCK, task);
}

async function request<T>(method: Method, path: string, body: unknown, token: string | undefined, { signal, headers }: RequestOptions): Promise<T> {
  const isRaw = body instanceof Blob;
  const response = await fetch(path, {
    method,
    signal: signal ?? null,
    headers: {
      ...(token && { Authorization: `Bearer ${token}` }),
      ...(method !== "GET" && { "X-Chat": "1" }),
      ...(body !== undefined && !isRaw && { "Content-Type": "application/json" }),
      ...headers,
    },
    body: body === undefined ? null : isRaw ? body : JSON.stringify(body),
  }).catch((error: unknown) => {
    if (signal?.aborted) throw error;
    throw new ApiError(0, "offline", undefined);
  });
  const answer: unknown = await response.json().catch(() => undefined);
  if (response.ok) return (answer ?? {}) as T;
  const { error } = (answer ?? {}) as { error?: { code: string; text?: { en: string; zh: string }; retry_after_ms?: number } };
  // A proxy that does not reach the back end answers without a body of ours.
  if (!error && response.status >= 502) throw new ApiError(0, "offline", undefined);
  throw new ApiError(response.status, error?.code ?? "unexpected", error?.text, error?.retry_after_ms);
}

async function authorized<T>(method: Method, path: string, body: unknown, options: RequestOptions = {}): Promise<T> {
  if (!access || access.endsAt - EARLY_MS < Date.now()) await refreshSession();
  try {
    return await request<T>(method, path, body, access?.token, options);
  } catch (error) {
    if (!(error instanceof ApiError && error.status === 401 && error.code === "signed_out")) throw error;
  }
  await refreshSession();
  return request<T>(method, path, body, access?.token, options);
}

/** The back end, for the user who is signed in. A failure is an `ApiError`. */
export const api = {
  get: <T>(path: string, options?: RequestOptions) => authorized<T>("GET", path, undefined, options),
  post: <T = unknown>(path: string, body: unknown = {}, options?: RequestOptions) => authorized<T>("POST", path, body, options),
  put: <T = unknown>(path: string, body: unknown = {}, options?: RequestOptions) => authorized<T>("PUT", path, body, options),
  patch: <T = unknown>(path: string, body: unknown = {}, options?: RequestOptions) => authorized<T>("PATCH", path, body, options),
  delete: <T = unknown>(path: string, options?: RequestOptions) => authorized<T>("DELETE", path, undefined, options),
};

/** The back end, without a session. */
export const open = {
  get: <T>(path: string) => request<T>("GET", path, undefined, undefined, {}),
  post: <T = unknown>(path: string, body: unknown) => request<T>("POST", path, body, undefined, {}),
};
