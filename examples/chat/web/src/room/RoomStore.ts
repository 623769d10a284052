import { ImError, type Client, type ClientEvent, type ReceivedMessage } from "@im-sdk/client";
import { likesIn } from "./likes";
import { RoomLog, type RoomMessage } from "./RoomLog";

export type RoomStatus =
  | { readonly name: "joining" | "in" }
  | { readonly name: "left"; readonly cause: "kicked" | "closed" | "refused"; readonly reason: string }
  | { readonly name: "failed"; readonly error: unknown };

/** An own message that is on its way, or was refused. */
export interface PendingMessage {
  readonly localId: number;
  readonly text: string;
  readonly error: unknown;
}

export interface RoomView {
  readonly status: RoomStatus;
  readonly messages: readonly RoomMessage[];
  readonly pending: readonly PendingMessage[];
  readonly new: number;
  readonly isPaused: boolean;
  /** Too much comes to read it out. */
  readonly isBusy: boolean;
  /** Devices in the room; `undefined` until it is known. */
  readonly online: number | undefined;
  /** Likes since this device came. */
  readonly likes: number;
}

/** The number of devices comes with each join. */
const COUNT_MS = 20_000;

/** A room that this device is in while somebody subscribes. What comes is shown once per frame. */
export class RoomStore {
  readonly #log = new RoomLog();
  #status: RoomStatus = { name: "joining" };
  #pending: readonly PendingMessage[] = [];
  #online: number | undefined;
  #likes = 0;
  #view: RoomView | undefined;
  #frame: number | undefined;
  #stop: (() => void) | undefined;
  readonly #listeners = new Set<() => void>();

  /** `onLikes` is called with the likes of others and one's own as they come. */
  constructor(
    readonly client: Pick<Client, "user" | "subscribe" | "joinRoom" | "leaveRoom" | "send" | "retry" | "discard">,
    readonly room: string,
    readonly onLikes: (count: number) => void,
  ) {}

  readonly subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    this.#stop ??= this.#start();
    return () => {
      this.#listeners.delete(listener);
      // A component that is mounted again at once stays in the room.
      queueMicrotask(() => {
        if (this.#listeners.size > 0) return;
        this.#stop?.();
        this.#stop = undefined;
      });
    };
  };

  readonly getSnapshot = (): RoomView => (this.#view ??= this.#look());

  readonly join = async (): Promise<void> => {
    if (this.#status.name !== "in") this.#setStatus({ name: "joining" });
    try {
      const { online, recent } = await this.client.joinRoom(this.room);
      this.#online = online;
      for (const message of recent) this.#log.add(message, this.client.user, 0);
      this.#setStatus({ name: "in" });
    } catch (error) {
      if (error instanceof ImError && error.code === "refused") this.#setStatus({ name: "left", cause: "refused", reason: error.refusal?.reason ?? "" });
      // A count that fails says nothing about the room.
      else if (this.#status.name !== "in") this.#setStatus({ name: "failed", error });
    }
  };

  async send(text: string): Promise<void> {
    const { localId, outcome } = await this.client.send({ channel: this.room }, text).then((sent) => ({ localId: sent.localId, outcome: sent.outcome() }));
    this.#setPending([...this.#pending, { localId, text, error: undefined }]);
    await this.#follow(localId, outcome);
  }

  async retry(localId: number): Promise<void> {
    const failed = this.#pending.find((pending) => pending.localId === localId);
    const sent = await this.client.retry(localId);
    this.#settle(localId);
    if (!failed || !sent) return;
    this.#setPending([...this.#pending, { ...failed, localId: sent.localId, error: undefined }]);
    await this.#follow(sent.localId, sent.outcome());
  }

  async discard(localId: number): Promise<void> {
    if (await this.client.discard(localId)) this.#settle(localId);
  }

  pause(isPaused: boolean): void {
    if (isPaused === this.#log.isPaused) return;
    this.#log.pause(isPaused);
    this.#show();
  }

  async #follow(localId: number, outcome: Promise<unknown>): Promise<void> {
    try {
      await outcome;
      this.#settle(localId);
    } catch (error) {
      this.#setPending(this.#pending.map((pending) => (pending.localId === localId ? { ...pending, error } : pending)));
    }
  }

  #settle(localId: number): void {
    this.#setPending(this.#pending.filter((pending) => pending.localId !== localId));
  }

  #start(): () => void {
    const stop = this.client.subscribe((event) => this.#take(event));
    const counting = setInterval(() => this.#status.name === "in" && !document.hidden && void this.join(), COUNT_MS);
    void this.join();
    return () => {
      stop();
      clearInterval(counting);
      if (this.#frame !== undefined) cancelAnimationFrame(this.#frame);
      this.#frame = undefined;
      // Whoever has left cannot send there any more.
      for (const { localId } of this.#pending) void this.client.discard(localId);
      this.#pending = [];
      this.client.leaveRoom(this.room).catch(() => {});
    };
  }

  #take(event: ClientEvent): void {
    if (event.type === "message") this.#hear(event.message);
    else if (event.type === "room_left" && event.channel === this.room) this.#setStatus({ name: "left", cause: event.cause, reason: event.reason });
    // The client joins again by itself what it was in; this also asks how many there are.
    else if (event.type === "connected" && this.#status.name !== "left") void this.join();
  }

  #hear(message: ReceivedMessage): void {
    if (message.channel !== this.room) return;
    const likes = likesIn(message.content);
    if (likes > 0) this.onLikes(likes);
    this.#likes += likes;
    if (message.localId !== undefined) this.#pending = this.#pending.filter(({ localId }) => localId !== message.localId);
    if (this.#log.add(message, this.client.user, Date.now()) || likes > 0) this.#frame ??= requestAnimationFrame(() => this.#show());
  }

  #setStatus(status: RoomStatus): void {
    this.#status = status;
    this.#show();
  }

  #setPending(pending: readonly PendingMessage[]): void {
    this.#pending = pending;
    this.#show();
  }

  #look(): RoomView {
    const { messages, isPaused } = this.#log;
    return { status: this.#status, messages, pending: this.#pending, new: this.#log.new, isPaused, isBusy: this.#log.isBusy(Date.now()), online: this.#online, likes: this.#likes };
  }

  #show(): void {
    this.#frame = undefined;
    this.#view = undefined;
    for (const listener of this.#listeners) listener();
  }
}
