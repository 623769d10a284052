import type { MessageId, ReceivedMessage } from "@im-sdk/client";

/** A message that is shown. */
export interface RoomMessage {
  readonly key: string;
  readonly from: string;
  readonly text: string;
  readonly isOwn: boolean;
}

const MAX_MESSAGES = 200;
/** More than so many in a while are too many to be read out. */
const BUSY_MESSAGES = 5;
const BUSY_MS = 3000;

/** The newest messages of a room. While the reader has scrolled back, what is shown stays as it is and the new ones are counted. */
export class RoomLog {
  #newest: RoomMessage[] = [];
  #shown: readonly RoomMessage[] = [];
  #isPaused = false;
  #new = 0;
  readonly #arrivals: number[] = [];
  readonly #seen = new Set<MessageId>();

  get messages(): readonly RoomMessage[] {
    return this.#isPaused ? this.#shown : this.#newest;
  }

  /** How many have come since the reader scrolled back. */
  get new(): number {
    return this.#new;
  }

  get isPaused(): boolean {
    return this.#isPaused;
  }

  isBusy(now: number): boolean {
    return this.#arrivals.filter((at) => now - at < BUSY_MS).length >= BUSY_MESSAGES;
  }

  /** Adds a message with a text. Returns `false` if there is nothing to show. */
  add({ id, from, content }: ReceivedMessage, me: string, now: number): boolean {
    const text = content.text?.text;
    if (text === undefined || text === "" || from === undefined || this.#seen.has(id)) return false;
    this.#seen.add(id);
    if (this.#seen.size > 2 * MAX_MESSAGES) for (const oldest of [...this.#seen].slice(0, MAX_MESSAGES)) this.#seen.delete(oldest);
    this.#newest = [...this.#newest.slice(1 - MAX_MESSAGES), { key: String(id), from, text, isOwn: from === me }];
    this.#arrivals.push(now);
    if (this.#arrivals.length > BUSY_MESSAGES) this.#arrivals.shift();
    if (this.#isPaused) this.#new++;
    return true;
  }

  pause(isPaused: boolean): void {
    if (isPaused === this.#isPaused) return;
    this.#shown = this.#newest;
    this.#isPaused = isPaused;
    this.#new = 0;
  }
}
