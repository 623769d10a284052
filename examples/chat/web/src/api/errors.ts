import { ImError } from "@im-sdk/client";
import { currentLanguage, translate, type Text } from "../text";

/** A refusal of the back end, or that it cannot be reached. */
export class ApiError extends Error {
  override readonly name = "ApiError";

  constructor(
    /** The HTTP status; 0 if there was no answer. */
    readonly status: number,
    /** A word for programs, such as `not_friends`; `offline` if there was no answer. */
    readonly code: string,
    readonly text: Text | undefined,
    readonly retryAfterMs: number | undefined = undefined,
  ) {
    super(text?.en ?? code);
  }

  get isOffline(): boolean {
    return this.status === 0;
  }
}

let refusals = new Map<number, Text>();

/** Sets the texts of the refusals that come over the SDK, by their numbers. */
export function setRefusals(known: ReadonlyMap<number, Text>): void {
  refusals = new Map(known);
}

/** Returns what to tell the user about an error, in the user's language. */
export function errorText(error: unknown): string {
  if (error instanceof ApiError) {
    const text = error.text?.[currentLanguage()];
    return text ?? translate(error.isOffline ? "error.offline" : "error.unexpected");
  }
  if (error instanceof ImError) {
    const text = error.refusal && refusals.get(error.refusal.code)?.[currentLanguage()];
    return text ?? translate(error.isRetryable ? "error.offline" : "error.unexpected");
  }
  return translate("error.unexpected");
}
