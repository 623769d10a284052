import type { Content } from "@im-sdk/client";

const SEND_MS = 1000;
/** The back end takes so many at once. */
const MOST_AT_ONCE = 50;
const MAX_SUM = 1_000_000_000;

/** Returns how many likes a message adds; 0 if it is another message. */
export function likesIn({ custom }: Content): number {
  if (custom?.kind !== "like") return 0;
  const sum = Number(new TextDecoder().decode(custom.data));
  return Number.isSafeInteger(sum) && sum > 0 ? Math.min(sum, MAX_SUM) : 0;
}

/** Sends the user's likes once a second, however fast they are pressed. */
export class LikeSender {
  #waiting = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(readonly post: (count: number) => Promise<unknown>) {}

  add(): void {
    this.#waiting = Math.min(this.#waiting + 1, MOST_AT_ONCE);
    this.#timer ??= setTimeout(() => this.flush(), SEND_MS);
  }

  flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const count = this.#waiting;
    this.#waiting = 0;
    // A like that is lost is not worth a word.
    if (count > 0) this.post(count).catch(() => {});
  }
}
