/** How long a tab keeps the line after a call, so that the other tabs have heard that it is over. */
const LINGER_MS = 300;

/**
 * Lets one tab of a browser ring and talk at a time: all tabs receive all signals. The tab that holds a Web Lock has the line;
 * the next one gets it when that tab is closed.
 */
export class PhoneLine {
  readonly #name: string;
  readonly #channel: BroadcastChannel;
  #release: (() => void) | undefined;
  #lingering: ReturnType<typeof setTimeout> | undefined;

  /** `onOver` is called with the id of a call that is over in another tab. */
  constructor(user: string, onOver: (id: string) => void) {
    this.#name = `chat.call.${user}`;
    this.#channel = new BroadcastChannel(this.#name);
    this.#channel.onmessage = ({ data }: MessageEvent<unknown>) => {
      if (typeof data === "string") onOver(data);
    };
  }

  get isHeld(): boolean {
    return this.#release !== undefined;
  }

  /** Waits for the line. Resolves to `false` if `signal` ends that first. */
  async take(signal: AbortSignal): Promise<boolean> {
    clearTimeout(this.#lingering);
    if (this.#release) return true;
    // Without locks, as over plain HTTP, there are no microphones either.
    if (!("locks" in navigator)) return true;
    return new Promise((resolve) => {
      const hold = (): Promise<void> => {
        resolve(true);
        return new Promise((release) => (this.#release = release));
      };
      navigator.locks.request(this.#name, { signal }, hold).catch(() => resolve(false));
    });
  }

  /** Gives the line back, unless it is taken again soon. */
  release(): void {
    clearTimeout(this.#lingering);
    this.#lingering = setTimeout(() => {
      this.#release?.();
      this.#release = undefined;
    }, LINGER_MS);
  }

  /** Tells the other tabs that a call is over. */
  tellOver(id: string): void {
    this.#channel.postMessage(id);
  }

  close(): void {
    clearTimeout(this.#lingering);
    this.#release?.();
    this.#release = undefined;
    this.#channel.close();
  }
}
