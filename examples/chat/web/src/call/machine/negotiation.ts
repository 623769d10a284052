import { RETRY_MS, type Effects } from "./effects";
import type { Call, CallSignal } from "./types";

/**
 * Offers and answers of a call. The caller makes all offers, the other device asks for them: they never cross. Each offer has a
 * number, and an answer to an earlier one is ignored.
 */
export class Negotiation {
  /** The number of the last offer made or taken. */
  #round = 0;

  constructor(readonly effects: Effects) {}

  begin(call: Call): void {
    this.#round = 0;
    this.try(call, false);
  }

  /** Makes an offer, or asks for one, until there is a connection. */
  try(call: Call, isRestart: boolean): void {
    this.effects.set("retry", RETRY_MS);
    if (call.direction === "outgoing") this.effects.add({ type: "make_offer", isRestart });
    else this.effects.tell(call, this.#round === 0 ? { step: "accept" } : { step: "want_offer" });
  }

  /** Sends an offer that was made. */
  offer(call: Call, sdp: string): void {
    this.effects.tell(call, { step: "offer", round: ++this.#round, sdp });
  }

  /** Takes what the device at the other end says. */
  hear(call: Call, signal: CallSignal): void {
    const isOfferer = call.direction === "outgoing";
    if (signal.step === "candidates") this.effects.add({ type: "take_candidates", candidates: signal.candidates });
    else if (isOfferer && signal.step === "answer" && signal.round === this.#round) this.effects.add({ type: "take_answer", sdp: signal.sdp });
    else if (isOfferer && (signal.step === "accept" || signal.step === "want_offer")) this.try(call, true);
    else if (!isOfferer && signal.step === "offer" && signal.round > this.#round) {
      this.#round = signal.round;
      this.effects.add({ type: "take_offer", round: signal.round, sdp: signal.sdp });
    }
  }
}
