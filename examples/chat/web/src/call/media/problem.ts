import type { MediaProblem } from "../machine/types";

/** Returns why a microphone or a camera cannot be used. */
export function problemOf(error: unknown): MediaProblem {
  if (!globalThis.isSecureContext) return "insecure";
  switch (error instanceof DOMException ? error.name : "") {
    case "NotAllowedError":
    case "SecurityError":
      return "denied";
    case "NotFoundError":
    case "OverconstrainedError":
      return "missing";
    case "NotReadableError":
    case "AbortError":
      return "in_use";
    default:
      return "unknown";
  }
}
