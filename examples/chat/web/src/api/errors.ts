import { ImError } from "@im-sdk/client";
import { useCallback } from "react";
import { currentLanguage, translate, useLanguage, type Language, type Text } from "../text";

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

const refusalIn = (error: unknown, language: Language): string | undefined => (error instanceof ImError && error.refusal ? refusals.get(error.refusal.code)?.[language] : undefined);

/** Returns a function that says why the back end refused something, in the user's language. */
export function useRefusalText(): (error: unknown) => string | undefined {
  const language = useLanguage();
  return useCallback((error) => refusalIn(error, language), [language]);
}

/** Returns why the back end refused something, in the user's language; `undefined` for other errors. */
export function useRefusal(error: unknown): string | undefined {
  return useRefusalText()(error);
}

/** Returns what to tell the user about an error, in the user's language. */
export function errorText(error: unknown): string {
  if (error instanceof ApiError) {
    const text = error.text?.[currentLanguage()];
    return text ?? translate(error.isOffline ? "error.offline" : "error.unexpected");
  }
  if (error instanceof ImError) {
    return refusalIn(error, currentLanguage()) ?? translate(error.isRetryable ? "error.offline" : "error.unexpected");
  }
  return translate("error.unexpected");
}
