/** What went wrong, as a name that stays the same over versions. */
export type ErrorCode =
  | "invalid"
  | "too_large"
  | "queue_full"
  | "store"
  | "refused"
  | "unconfirmed"
  | "discarded"
  | "timeout"
  | "stopped"
  | "closed"
  | "busy"
  | "unexpected";

/** Why something that the application asked for did not happen. */
export class ImError extends Error {
  override readonly name = "ImError";

  constructor(
    readonly code: ErrorCode,
    message: string,
    /** The back end's refusal, where there is one. */
    readonly refusal?: Refusal,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }

  /** Whether the same may be sent anew: nothing came of it, for certain. */
  get isRetryable(): boolean {
    return this.code === "refused" || this.code === "store" || this.code === "queue_full";
  }
}

/** What a server or a back end said when it refused. */
export interface Refusal {
  /** A number of `RefusalKind`. */
  readonly kind: number;
  readonly reason: string;
  /** The application's own code, or less than 0: a rule of the back end's SDK. */
  readonly code: number;
  /** When the same may be tried again, in milliseconds; 0: never. */
  readonly retryAfterMs: number;
}

/** Close codes of the protocol. */
export const CloseCode = {
  GoingAway: 4000,
  SlowConsumer: 4001,
  IdleTimeout: 4002,
  HelloTimeout: 4003,
  Overloaded: 4004,
  Internal: 4005,
  TokenExpired: 4200,
  TokenInvalid: 4201,
  ProtocolError: 4400,
  UnsupportedVersion: 4401,
  FrameTooLarge: 4402,
  Replaced: 4403,
  Kicked: 4404,
  ClientClosed: 4405,
} as const;

/** Returns what a device does after a close code. */
export function policyOf(code: number): "backoff" | "fresh_token" | "never" {
  if (code >= 4200 && code < 4400) return "fresh_token";
  if (code >= 4400 && code < 4600) return "never";
  return "backoff";
}
