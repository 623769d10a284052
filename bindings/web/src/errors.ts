/** The codes of errors, which are stable over versions. */
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

/** The reason why a request of the application failed. */
export class ImError extends Error {
  override readonly name = "ImError";

  constructor(
    readonly code: ErrorCode,
    message: string,
    /** The back end's refusal, if there is one. */
    readonly refusal?: Refusal,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }

  /** Set if the message may be sent again: the failed attempt certainly had no effect. */
  get isRetryable(): boolean {
    return this.code === "refused" || this.code === "store" || this.code === "queue_full";
  }
}

/** The refusal of a server or a back end. */
export interface Refusal {
  /** A number of `RefusalKind`. */
  readonly kind: number;
  readonly reason: string;
  /** The application's own code, or a negative one for a rule of the back end's SDK. */
  readonly code: number;
  /** The time in milliseconds after which to retry; 0 for never. */
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
