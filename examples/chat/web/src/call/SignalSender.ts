import type { CallStep, Client } from "@im-sdk/client";
import type { Effect } from "./machine/types";
import { encodeSignal } from "./wire";

type Outgoing = Extract<Effect, { type: "signal" }>;

/** A signal that could not be sent for so long is of no use any more. */
const MAX_AGE_MS = 20_000;

interface Queued {
  readonly outgoing: Outgoing;
  readonly step: CallStep;
  readonly parts: readonly Uint8Array[];
  readonly since: number;
}

/** Sends signals in order. Over an interruption of the connection they wait, except for rings, which are repeated anyhow. */
export class SignalSender {
  readonly #queue: Queued[] = [];
  #isSending = false;
  #number = 0;

  /** `onRing` is called with the id of a call and whether its ring was sent. */
  constructor(
    readonly client: Pick<Client, "signal" | "state">,
    readonly onRing: (id: string, isSent: boolean) => void,
  ) {}

  send(outgoing: Outgoing): void {
    this.#queue.push({ outgoing, ...encodeSignal(outgoing.signal, this.#number++), since: Date.now() });
    void this.flush();
  }

  /** Sends what waits: call it when there is a connection again. */
  async flush(): Promise<void> {
    if (this.#isSending) return;
    this.#isSending = true;
    for (let next = this.#queue[0]; next; next = this.#queue[0]) {
      const isSent = await this.#try(next);
      const isRing = next.outgoing.signal.step === "ring";
      const isLate = Date.now() - next.since > MAX_AGE_MS;
      if (!isSent && !isRing && !isLate && this.client.state !== "connected") break;
      this.#queue.shift();
      if (isRing) this.onRing(next.outgoing.id, isSent);
    }
    this.#isSending = false;
  }

  async #try({ outgoing: { id, to, device }, step, parts }: Queued): Promise<boolean> {
    try {
      for (const data of parts) if (!(await this.client.signal({ user: to }, { call: { id, step, data } }, device))) return false;
      return true;
    } catch {
      return false;
    }
  }
}
