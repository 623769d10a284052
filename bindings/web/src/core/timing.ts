/** Returns the earliest of some times; `undefined` ones are ignored. */
export function earliest(...moments: (number | undefined)[]): number | undefined {
  let first: number | undefined;
  for (const moment of moments) if (moment !== undefined && (first === undefined || moment < first)) first = moment;
  return first;
}

/** Returns a random number from 0 up to 1, as `Math.random` does. */
export type Random = () => number;

const BASE_MS = 500;
const CAP_MS = 30_000;

/** Exponential backoff with full jitter. */
export class Backoff {
  #failures = 0;

  next(random: Random): number {
    const ceiling = Math.min(CAP_MS, BASE_MS * 2 ** Math.min(this.#failures, 16));
    this.#failures++;
    return random() * ceiling;
  }

  reset(): void {
    this.#failures = 0;
  }
}

const SHORTEST_HEARTBEAT_MS = 20;
const PROBE_MS = 5000;

/** Decides when to send a ping, and when a connection is dead. */
export class Heartbeat {
  readonly #interval: number;
  #sent: number;
  #received: number;
  #pinged: number;
  #due = false;
  #echo = 0n;
  #probeUntil: number | undefined;

  constructor(interval: number, now: number) {
    this.#interval = Math.max(interval, SHORTEST_HEARTBEAT_MS);
    this.#sent = this.#received = this.#pinged = now;
  }

  handleSent(now: number): void {
    this.#sent = now;
  }

  handleReceived(now: number): void {
    this.#received = now;
    this.#probeUntil = undefined;
  }

  /** Pings the server at once and waits for a few seconds only, since the network may have changed or the machine was asleep. */
  probe(now: number): void {
    this.#due = true;
    this.#probeUntil ??= now + PROBE_MS;
  }

  /**
   * Handles the timer. A timer that fires late says nothing about the server, since its data may still be unread. A connection
   * that looks dead by then gets another ping.
   */
  handleTimeout(now: number, late: boolean): void {
    if (late && now >= this.#received + this.#interval * 2) {
      this.#received = now - this.#interval;
      this.probe(now);
    }
    if (this.#pingAt() <= now) this.#due = true;
  }

  pollPing(now: number): bigint | undefined {
    if (!this.#due) return undefined;
    this.#due = false;
    this.#pinged = now;
    return ++this.#echo;
  }

  isDead(now: number): boolean {
    return now >= this.#deadAt();
  }

  pollTimeout(): number {
    return Math.min(this.#due ? Infinity : this.#pingAt(), this.#deadAt());
  }

  #pingAt(): number {
    // Pings early, since timers fire late and networks take time.
    return Math.min(this.#sent, Math.max(this.#received, this.#pinged)) + this.#interval * 0.9;
  }

  #deadAt(): number {
    return Math.min(this.#received + this.#interval * 2, this.#probeUntil ?? Infinity);
  }
}
