import type { Init } from "./codec.js";
import { Core, type CoreConfig, type TokenRequest } from "./core/core.js";
import type { ConversationChange } from "./core/marks.js";
import type { QueuedSend } from "./core/outbox.js";
import type { Question } from "./core/requests.js";
import { ImError } from "./errors.js";
import type { ClientEvent, ConnectionState } from "./events.js";
import type { Conversation, Position } from "./ids.js";
import type { Response, Signal } from "./proto.js";
import type { Socket, SocketFactory } from "./socket.js";
import type { Saved, SavedPublish, Store } from "./store/store.js";

/** Thrown by a token provider when there will be no token, since the user has logged out. The client stops. */
export class SignedOutError extends Error {
  override readonly name = "SignedOutError";
}

/** Returns a token of the user. The client calls it when it needs one, one call at a time. */
export type TokenProvider = (request: TokenRequest) => Promise<string> | string;

/** The parts of an {@link Engine}. */
export interface EngineConfig {
  readonly core: CoreConfig;
  readonly store: Store;
  readonly saved: Saved;
  readonly socket: SocketFactory;
  readonly token: TokenProvider;
  readonly endpoints: () => Promise<readonly string[]>;
  readonly onEvent: (event: ClientEvent) => void;
  readonly onState: (state: ConnectionState) => void;
  /**
   * Called when this engine cannot use the store any more: with the code `closed` another tab has claimed it, with `store` it
   * keeps failing.
   */
  readonly onStoreLost?: (error: ImError) => void;
}

/** The interface of the connection's owner: the engine in this tab, or in another one. */
export interface Link {
  connect(): void;
  disconnect(): void;
  /** Reads new sends from the store. */
  pull(): void;
  /** The network may have changed, or the machine was asleep. */
  wake(): void;
  setReading(reading: boolean): void;
  ack(position: Position): void;
  request(question: Question): Promise<Response>;
  mark(to: Conversation, change: ConversationChange): Promise<void>;
  signal(signal: Init<Signal>): Promise<boolean>;
  discard(localId: number): Promise<boolean>;
  /** Replaces a failed send by a new one, and sends that. */
  retry(localId: number): Promise<SavedPublish | undefined>;
  queued(): Promise<QueuedSend[]>;
  close(timeoutMs: number): Promise<void>;
}

/** The wall clock, since only that includes sleep. It never goes back. */
class Clock {
  #last = 0;
  #offset = 0;

  now(): number {
    const at = Date.now() + this.#offset;
    if (at < this.#last) this.#offset += this.#last - at;
    return (this.#last = Math.max(at, this.#last));
  }
}

const SUBPROTOCOL = "im.v1";
/** Maximum number of bytes that wait in the socket before more is sent. */
const MAX_BUFFERED = 1024 * 1024;
const DRAIN_MS = 50;
const LATE_MS = 2000;
const LONGEST_TIMER_MS = 2 ** 31 - 1;
const ATTEMPT_TO_ASK_MS = 30_000;
/** Number of consecutive failures after which the store counts as lost. */
const MAX_STORE_FAILURES = 3;

/** Runs a {@link Core} over sockets, timers and a store. */
export class Engine implements Link {
  readonly #config: EngineConfig;
  readonly #core: Core;
  readonly #clock = new Clock();
  readonly #tickets = new Map<number, { resolve(response: Response): void; reject(error: ImError): void }>();
  #lastTicket = 0;
  #socket: Socket | undefined;
  /** Counts attempts, to recognise events of earlier sockets. */
  #attempt = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #timerAt: number | undefined;
  #state: ConnectionState = "disconnected";
  #running = false;
  #again = false;
  #pulling = false;
  #pullAgain = false;
  #saving: Promise<ImError | undefined> = Promise.resolve(undefined);
  #storeFailures = 0;
  #abandoned = false;
  #closed: Promise<void> | undefined;
  #onClosed: (() => void) | undefined;

  constructor(config: EngineConfig) {
    this.#config = config;
    this.#core = new Core(config.core, config.saved);
    this.#run();
  }

  connect(): void {
    this.#do((now) => this.#core.connect(now));
  }

  disconnect(): void {
    this.#do(() => this.#core.disconnect());
  }

  wake(): void {
    this.#do((now) => this.#core.handleWake(now));
  }

  setReading(reading: boolean): void {
    this.#do((now) => this.#core.handleReading(now, reading));
  }

  ack(position: Position): void {
    this.#do((now) => this.#core.handleAck(now, position));
  }

  pull(): void {
    this.#pullAgain = true;
    if (!this.#pulling) void this.#pull();
  }

  request(question: Question): Promise<Response> {
    return new Promise((resolve, reject) => {
      const ticket = ++this.#lastTicket;
      this.#tickets.set(ticket, { resolve, reject });
      this.#do((now) => this.#core.handleRequest(now, ticket, question));
    });
  }

  async mark(to: Conversation, change: ConversationChange): Promise<void> {
    this.#do((now) => this.#core.handleMark(now, to, change));
    await this.#saved();
  }

  signal(signal: Init<Signal>): Promise<boolean> {
    return Promise.resolve(this.#do(() => this.#core.handleSignal(signal)));
  }

  async discard(localId: number): Promise<boolean> {
    const gone = this.#do(() => this.#core.discard(localId));
    if (gone) await this.#saved();
    return gone;
  }

  async retry(localId: number): Promise<SavedPublish | undefined> {
    // Waits until failures are in the store, which the application does not see.
    await this.#saved();
    const retry = await this.#config.store.retry(localId);
    if (retry) this.pull();
    return retry;
  }

  queued(): Promise<QueuedSend[]> {
    return Promise.resolve(this.#core.queued());
  }

  close(timeoutMs: number): Promise<void> {
    this.#closed ??= new Promise<void>((resolve) => {
      this.#onClosed = resolve;
      this.#do((now) => this.#core.close(now, now + timeoutMs));
    }).then(async () => void (await this.#saving));
    return this.#closed;
  }

  /** Ends at once without notifying anybody: another tab has the connection now. */
  abandon(): void {
    this.#abandoned = true;
    this.#attempt++;
    this.#socket?.close(4405, "another tab has the connection");
    this.#socket = undefined;
    clearTimeout(this.#timer);
    this.#again = false;
    this.#running = true;
    for (const { reject } of this.#tickets.values()) reject(new ImError("closed", "another tab has the connection: ask again"));
    this.#tickets.clear();
  }

  /** Resolves when everything so far is in the store. */
  async #saved(): Promise<void> {
    while (!this.#abandoned && this.#core.hasUnsaved) {
      const error = await this.#saving;
      if (error) throw error;
    }
    if (this.#abandoned) throw new ImError("closed", "another tab has the connection: ask again");
  }

  #do<T>(what: (now: number) => T): T {
    // After `abandon` nothing runs: `#run` returns at once.
    const result = what(this.#clock.now());
    this.#run();
    return result;
  }

  /** Carries out the core's actions until there are none. */
  #run(): void {
    this.#again = true;
    if (this.#running) return;
    this.#running = true;
    while (this.#again) {
      this.#again = false;
      this.#step();
    }
    this.#running = false;
    this.#setTimer();
  }

  #step(): void {
    const core = this.#core;
    for (let action; (action = core.pollAction()); ) {
      if (action.type === "close") this.#closeSocket(action.code, action.reason);
      else if (action.type === "connect") this.#openSocket(action.endpoint);
      else if (action.type === "ask_token") void this.#askToken(action.request);
      else void this.#askEndpoints();
    }
    this.#transmit();
    const batch = core.pollSave();
    if (batch) {
      this.#saving = this.#config.store.save(batch).then(
        () => {
          this.#storeFailures = 0;
          this.#do((now) => core.handleSaved(now));
          return undefined;
        },
        (error: unknown) => {
          const failure = storeError(error);
          if (!this.#isLost(failure)) this.#do((now) => core.handleSaved(now, failure));
          return failure;
        },
      );
    }
    if (core.state !== this.#state) this.#config.onState((this.#state = core.state));
    for (let event; (event = core.pollEvent()); ) this.#config.onEvent(event);
    for (let answered; (answered = core.pollAnswered()); ) {
      const ticket = this.#tickets.get(answered.asker as number);
      this.#tickets.delete(answered.asker as number);
      if (answered.response) ticket?.resolve(answered.response);
      else ticket?.reject(answered.error ?? new ImError("unexpected", "an answer came without an outcome: report this"));
    }
    if (core.state === "closed") {
      this.#onClosed?.();
      this.#onClosed = undefined;
    }
  }

  /** Counts a failure of the store. Returns `true` if the owner was told that the store is lost. */
  #isLost(failure: ImError): boolean {
    const { onStoreLost } = this.#config;
    if (!onStoreLost || (failure.code !== "closed" && ++this.#storeFailures < MAX_STORE_FAILURES)) return false;
    onStoreLost(failure);
    return true;
  }

  #transmit(): void {
    const now = this.#clock.now();
    while (this.#socket && (this.#socket.bufferedAmount ?? 0) < MAX_BUFFERED) {
      const frame = this.#core.pollTransmit(now);
      if (!frame) return;
      try {
        this.#socket.send(frame);
      } catch {
        // A closing socket reports that by an event of its own.
      }
    }
    if (this.#socket) setTimeout(() => this.#run(), DRAIN_MS);
  }

  #openSocket(endpoint: string): void {
    const attempt = ++this.#attempt;
    const isCurrent = (): boolean => attempt === this.#attempt;
    const guard = (what: (now: number) => void): void => {
      if (isCurrent()) this.#do(what);
    };
    try {
      const socket = this.#config.socket(endpoint, SUBPROTOCOL, {
        open: () => guard((now) => this.#core.handleOpened(now)),
        message: (bytes) => guard((now) => this.#core.handleMessage(now, bytes)),
        close: (code, reason) =>
          guard((now) => {
            this.#attempt++;
            this.#socket = undefined;
            this.#core.handleClosed(now, code, reason);
          }),
      });
      if (isCurrent()) this.#socket = socket;
    } catch (error) {
      const reason = `${endpoint} cannot be opened: ${messageOf(error)}`;
      queueMicrotask(() => guard((now) => this.#core.handleClosed(now, undefined, reason)));
    }
  }

  #closeSocket(code: number, reason: string): void {
    // Its further events are ignored.
    this.#attempt++;
    this.#socket?.close(code, reason);
    this.#socket = undefined;
  }

  async #askToken(request: TokenRequest): Promise<void> {
    try {
      const token = await withTimeout(Promise.resolve().then(() => this.#config.token(request)), "the token provider");
      this.#do((now) => this.#core.handleToken(now, token));
    } catch (error) {
      const isFinal = error instanceof SignedOutError;
      this.#do((now) => this.#core.handleToken(now, new ImError("unexpected", `there is no token: ${messageOf(error)}`), isFinal));
    }
  }

  async #askEndpoints(): Promise<void> {
    try {
      const endpoints = await withTimeout(this.#config.endpoints(), "the list of endpoints");
      this.#do((now) => this.#core.handleEndpoints(now, endpoints));
    } catch (error) {
      this.#do((now) => this.#core.handleEndpoints(now, new ImError("unexpected", `there are no endpoints: ${messageOf(error)}`)));
    }
  }

  async #pull(): Promise<void> {
    this.#pulling = true;
    while (this.#pullAgain) {
      this.#pullAgain = false;
      try {
        const publishes = await this.#config.store.appended(this.#core.lastLocalId);
        this.#do(() => this.#core.handleSends(publishes));
      } catch (error) {
        const failure = storeError(error);
        if (this.#isLost(failure)) break;
        this.#config.onEvent({ type: "store_failed", error: failure });
        setTimeout(() => this.pull(), 1000);
      }
    }
    this.#pulling = false;
  }

  #setTimer(): void {
    const at = this.#core.pollTimeout();
    if (at === this.#timerAt && this.#timer !== undefined) return;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#timerAt = at;
    if (at === undefined) return;
    const delay = Math.min(Math.max(0, at - this.#clock.now()), LONGEST_TIMER_MS);
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#do((now) => this.#core.handleTimeout(now, now - at > LATE_MS));
    }, Math.ceil(delay));
  }
}

function withTimeout<T>(promise: Promise<T>, what: string): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`${what} took longer than ${ATTEMPT_TO_ASK_MS / 1000} s`)), ATTEMPT_TO_ASK_MS);
    promise.then(resolve, reject).finally(() => clearTimeout(timer));
  });
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

/** Converts a store's failure for the application. */
export function storeError(error: unknown): ImError {
  return error instanceof ImError ? error : new ImError("store", `what the device has to remember could not be saved: ${messageOf(error)}`, undefined, { cause: error });
}
