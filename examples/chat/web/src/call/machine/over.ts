import type { CallSignal } from "./types";

const MAX_OVER = 50;

/** Calls that are over. Their late signals are answered, as what ended the call may have been lost. */
export class OverCalls {
  readonly #replies = new Map<string, CallSignal | undefined>();

  /** `reply` goes to a caller that is still ringing. */
  add(id: string, reply?: CallSignal): void {
    this.#replies.set(id, reply);
    if (this.#replies.size > MAX_OVER) for (const oldest of this.#replies.keys()) return void this.#replies.delete(oldest);
  }

  has(id: string): boolean {
    return this.#replies.has(id);
  }

  /** Returns the answer to a late signal. */
  replyTo(id: string, { step }: CallSignal): CallSignal | undefined {
    if (step === "ring") return this.#replies.get(id);
    return step === "accept" || step === "want_offer" || step === "offer" ? { step: "hangup", isElsewhere: false } : undefined;
  }
}
