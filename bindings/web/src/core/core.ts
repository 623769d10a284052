/**
 * The logic of one connection, without any I/O: a state machine that receives inputs and returns actions.
 *
 * After any `handle*`, and at the time of {@link Core.pollTimeout}, the owner calls the `poll*` methods until they return
 * `undefined`: first {@link Core.pollAction}, then {@link Core.pollTransmit}, {@link Core.pollSave}, {@link Core.pollEvent} and
 * {@link Core.pollAnswered}. `now` is in milliseconds since the Unix epoch and never goes back.
 */
import { DecodeError, FrameTooLargeError, create, decodeFrames, encode, encodeFrame, type Init } from "../codec.js";
import { CloseCode, ImError, policyOf } from "../errors.js";
import type { ClientEvent, ConnectionState, ReceivedMessage, ResetCause, StopCause } from "../events.js";
import { isId, keyOf, type Conversation, type LogName, type Position } from "../ids.js";
import { ResetReason, RoomLeftCause, type ConversationState, type Device, type Frame, type Push, type Response, type Signal, type Welcome } from "../proto.js";
import type { Batch, Saved, SavedPublish } from "../store/store.js";
import { Logs, type LogChange } from "./logs.js";
import { Marks, type ConversationChange } from "./marks.js";
import { open } from "./origin.js";
import { Outbox, type QueuedSend, type ServerLimits } from "./outbox.js";
import { Requests, type Answered, type Question } from "./requests.js";
import { Backoff, Heartbeat, earliest, type Random } from "./timing.js";

/** The reason for which a token is requested. */
export type TokenRequest =
  /** The user logs in, or takes the place back from another device. */
  | { readonly reason: "first" }
  | { readonly reason: "reconnect" }
  /** The current token expires soon. */
  | { readonly reason: "expiring" }
  /** The server refused the last token. */
  | { readonly reason: "rejected"; readonly code: number; readonly message: string };

/** An action for the owner. */
export type Action =
  | { readonly type: "ask_token"; readonly request: TokenRequest }
  | { readonly type: "ask_endpoints" }
  | { readonly type: "connect"; readonly endpoint: string }
  /** Closes the current socket. The owner ignores its further events. */
  | { readonly type: "close"; readonly code: number; readonly reason: string };

/** Settings of a {@link Core}. */
export interface CoreConfig {
  readonly device: Device;
  readonly clientName: string;
  readonly random: Random;
  readonly requestTimeoutMs: number;
  readonly syncEveryMs: number;
  readonly watchEveryMs: number;
}

/** A request of the server to connect elsewhere. */
interface Leave {
  /** Time after which no new publishes are sent. */
  readonly from: number;
  /** Time at which the connection is closed, even with unanswered publishes. */
  readonly by: number;
  /** Set once `from` is over. */
  begun: boolean;
}

type Phase =
  | { readonly name: "disconnected" }
  | { readonly name: "waiting"; readonly until: number }
  | { readonly name: "asking" }
  | { readonly name: "opening"; readonly endpoint: string; readonly deadline: number }
  | { readonly name: "greeting"; readonly endpoint: string; readonly deadline: number }
  | { readonly name: "connected"; readonly since: number; readonly heartbeat: Heartbeat; leave?: Leave }
  | { readonly name: "stopped"; readonly reason: string }
  | { readonly name: "closed" };

interface Room {
  data: Uint8Array;
  joined: boolean;
  /** Ids of the last messages received in the room. */
  readonly known: Set<bigint>;
}

const VERSION = 1;
const MAX_HELLO_BYTES = 8192;
const ATTEMPT_MS = 10_000;
const USUAL: ServerLimits = { maxFrameBytes: 65536, maxInflight: 64 };
const USUAL_HEARTBEAT_MS = 30_000;
/** Maximum size of a received frame, whatever limit the server sets. */
const MAX_RECEIVED_FRAME_BYTES = 1024 * 1024;
const MAX_SIGNAL_BYTES = 4096;
const MAX_QUEUED_SIGNALS = 64;
const MAX_ROOMS = 64;
const REMEMBERED = 256;
const MAX_WATCHED = 500;
/** A new token is requested this long before the current one expires. */
const TOKEN_MARGIN_MS = 60_000;
const MAX_CONTENT_BYTES = 65024;
const SAVE_BASE_MS = 200;
const SAVE_CAP_MS = 10_000;

/** The logic of one connection. */
export class Core {
  readonly #config: CoreConfig;
  readonly #logs: Logs;
  readonly #outbox: Outbox;
  readonly #requests: Requests;
  readonly #marks: Marks;
  readonly #backoff = new Backoff();
  readonly #actions: Action[] = [];
  readonly #events: ClientEvent[] = [];
  readonly #answered: Answered[] = [];
  readonly #signals: Uint8Array[] = [];
  readonly #rooms = new Map<string, Room>();
  #watched: readonly string[] = [];
  #watchAt: number | undefined;
  #phase: Phase = { name: "disconnected" };
  #limits = USUAL;
  #hello: Uint8Array | undefined;
  #pong: bigint | undefined;
  #endpoints: readonly string[] = [];
  #attempt = 0;
  #failedInRound = 0;
  #token: { readonly text: string; readonly expiresMs: number | undefined } | undefined;
  #request: TokenRequest = { reason: "first" };
  #askingToken = false;
  #askTokenAt: number | undefined;
  /** The lead of the server's clock; `undefined` if unknown. */
  #clockOffset: number | undefined;
  #resumes: boolean;
  #reading = true;
  #closingBy: number | undefined;
  #user: string;
  #userUnsaved = false;
  #saving: Batch | undefined;
  #saveFailures = 0;
  #saveAt: number | undefined;

  constructor(config: CoreConfig, saved: Saved) {
    this.#config = config;
    this.#user = saved.user;
    this.#resumes = saved.user !== "";
    this.#logs = new Logs(saved.cursors, config.syncEveryMs);
    this.#outbox = new Outbox(saved.installation, saved.renewed, saved.nextNumber, saved.outbox);
    this.#marks = new Marks(saved.marks);
    this.#requests = new Requests(config.requestTimeoutMs);
  }

  /** The user that the store belongs to; empty before the first connection. */
  get user(): string {
    return this.#user;
  }

  get state(): ConnectionState {
    const { name } = this.#phase;
    return name === "asking" || name === "opening" || name === "greeting" ? "connecting" : name;
  }

  /** The highest local id of the sends that were passed in. */
  get lastLocalId(): number {
    return this.#outbox.lastLocalId;
  }

  /** Returns the position in a log. */
  position(log: LogName): number {
    return this.#logs.position(log);
  }

  /** Starts to connect, even if the server has forbidden it. Has no effect while connected. */
  connect(now: number): void {
    const { name } = this.#phase;
    if (this.#closingBy !== undefined || (name !== "disconnected" && name !== "stopped" && name !== "waiting")) return;
    this.#start(now);
  }

  /** Takes the endpoints to connect to, as WebSocket URLs. */
  handleEndpoints(now: number, endpoints: readonly string[] | ImError): void {
    if (endpoints instanceof ImError || endpoints.length === 0) {
      if (this.#phase.name === "asking") this.#retry(now, undefined, endpoints instanceof ImError ? endpoints.message : "there is no endpoint to connect to");
      return;
    }
    this.#endpoints = endpoints;
    this.#failedInRound = 0;
    this.#attempt = Math.floor(this.#config.random() * endpoints.length);
    this.#open(now);
  }

  /** Takes a token, or the reason why there is none. With `isFinal` there will be none, since the user has logged out. */
  handleToken(now: number, token: string | ImError, isFinal = false): void {
    this.#askingToken = false;
    if (token instanceof ImError) {
      if (isFinal) this.#stop("token", undefined, token.message);
      else if (this.#phase.name === "asking") this.#retry(now, undefined, token.message);
      else this.#askTokenAt = now + TOKEN_MARGIN_MS / 4;
      return;
    }
    this.#token = { text: token, expiresMs: expiryOf(token) };
    if (this.#phase.name === "asking") this.#open(now);
    // A token is valid for a connection, so a new token needs a new connection.
    else if (this.#phase.name === "connected" && this.#request.reason === "expiring") this.#leave(now, undefined, "a new token came");
  }

  handleOpened(now: number): void {
    if (this.#phase.name !== "opening") return;
    const { endpoint } = this.#phase;
    const hello = this.#greeting();
    const cursors = this.#logs.hello(MAX_HELLO_BYTES - encode("Hello", hello).length);
    this.#hello = encodeFrame({ hello: { ...hello, cursors } });
    this.#phase = { name: "greeting", endpoint, deadline: now + ATTEMPT_MS };
  }

  handleMessage(now: number, bytes: Uint8Array): void {
    if (this.#phase.name !== "greeting" && this.#phase.name !== "connected") return;
    try {
      if (bytes.length > 4 * (this.#limits.maxFrameBytes + 5)) throw new FrameTooLargeError(`a message of ${bytes.length} bytes came`);
      for (const frame of decodeFrames(bytes, this.#limits.maxFrameBytes)) {
        if (this.#phase.name === "connected") this.#phase.heartbeat.handleReceived(now);
        this.#handleFrame(now, frame);
      }
      this.#leaveIfDone(now);
    } catch (error) {
      if (error instanceof FrameTooLargeError) this.#retry(now, CloseCode.FrameTooLarge, error.message);
      else if (error instanceof DecodeError) this.#retry(now, CloseCode.ProtocolError, error.message);
      else throw error;
    }
  }

  /** The current socket has closed; without a code if it was lost. */
  handleClosed(now: number, code: number | undefined, reason: string): void {
    const { name } = this.#phase;
    if (name !== "opening" && name !== "greeting" && name !== "connected") return;
    const policy = policyOf(code ?? 0);
    if (policy === "never") return this.#stop("server", code, reason);
    if (policy === "fresh_token" && code !== undefined) {
      this.#request = { reason: "rejected", code, message: reason };
      this.#token = undefined;
    }
    this.#retry(now, code, reason || (name === "connected" ? "the connection was lost" : "no connection could be made"));
  }

  /** Disconnects, and stays disconnected until {@link connect}. */
  disconnect(): void {
    if (["closed", "disconnected", "stopped"].includes(this.#phase.name)) return;
    const reason = "the application disconnected";
    this.#drop(CloseCode.ClientClosed, reason);
    this.#backoff.reset();
    this.#phase = { name: "disconnected" };
    this.#failRequests(stopped(reason));
    this.#events.push({ type: "disconnected", code: CloseCode.ClientClosed, reason, retryInMs: Infinity });
  }

  /** The network may have changed, or the machine was asleep. */
  handleWake(now: number): void {
    if (this.#phase.name === "waiting" && this.#reading) this.#start(now);
    else if (this.#phase.name === "connected") this.#phase.heartbeat.probe(now);
  }

  /** Sets whether the application takes events. While it does not, there is no connection. Nothing is lost, since logs resume. */
  handleReading(now: number, reading: boolean): void {
    this.#reading = reading;
    const { name } = this.#phase;
    if (!reading && (name === "opening" || name === "greeting" || name === "connected")) {
      this.#drop(CloseCode.ClientClosed, "the application does not read");
      this.#phase = { name: "waiting", until: now };
      this.#events.push({ type: "disconnected", reason: "the application does not take its events", retryInMs: 0 });
    }
  }

  /** Takes sends from the store, in the order of their local ids. */
  handleSends(publishes: readonly SavedPublish[]): void {
    // The store works again, so a failed save is repeated at once.
    if (publishes.length > 0) this.#saveAt = undefined;
    for (const publish of publishes) this.#outbox.push(publish);
  }

  /** Forgets a send. Returns `false` if it may have arrived already, or is unknown. */
  discard(localId: number): boolean {
    return this.#outbox.discard(localId);
  }

  /** Returns the unsettled and the failed sends. */
  queued(): QueuedSend[] {
    return this.#outbox.list();
  }

  /** The application has processed everything in a log up to a position. */
  handleAck(now: number, position: Position): void {
    this.#logs.handleAck(now, position);
  }

  /** Takes a request of the application. {@link pollAnswered} returns the answer with the ticket. */
  handleRequest(now: number, ticket: number, question: Question): void {
    const bytes = encode("Request", { ...question, number: Number.MAX_SAFE_INTEGER }).length;
    let error: ImError | undefined;
    if (this.#closingBy !== undefined || this.#phase.name === "closed") error = closed();
    else if (this.#phase.name === "stopped") error = stopped(this.#phase.reason);
    else if (bytes > this.#limits.maxFrameBytes - 16) error = new ImError("too_large", `the request takes ${bytes} bytes, and the limit is ${this.#limits.maxFrameBytes}: ask for less at a time`);
    const join = question.joinRoom;
    if (!error && join && this.#rooms.size >= MAX_ROOMS && !this.#rooms.has(join.channel ?? "")) {
      error = new ImError("invalid", `the device is in ${MAX_ROOMS} rooms: leave one before it joins ${join.channel ?? ""}`);
    }
    error ??= this.#requests.ask(now, ticket, question);
    if (error) {
      this.#answered.push({ asker: ticket, question, error });
      return;
    }
    // The device counts as joining from here on, since messages may arrive before the answer.
    if (join) {
      const room = this.#rooms.get(join.channel ?? "");
      if (room) room.data = join.data ?? new Uint8Array(0);
      else this.#rooms.set(join.channel ?? "", { data: join.data ?? new Uint8Array(0), joined: false, known: new Set() });
    }
    if (question.leaveRoom) this.#rooms.delete(question.leaveRoom.channel ?? "");
  }

  /** Changes a conversation for all devices of the user. */
  handleMark(now: number, to: Conversation, change: ConversationChange): void {
    if (this.#closingBy !== undefined) throw closed();
    this.#marks.set(now, keyOf(to), change);
  }

  /** Queues a signal. Returns `false` if it will not be sent: without a connection, with a full queue, or if it is too large. */
  handleSignal(signal: Init<Signal>): boolean {
    const frame = encodeFrame({ signal });
    const goes = this.#phase.name === "connected" && this.#signals.length < MAX_QUEUED_SIGNALS && frame.length <= MAX_SIGNAL_BYTES;
    if (goes) this.#signals.push(frame);
    return goes;
  }

  /** Closes the connection once everything has been sent, at `by` at the latest. */
  close(now: number, by: number): void {
    if (this.#phase.name === "closed") return;
    this.#closingBy ??= by;
    this.#logs.flushAcks();
    this.#marks.flush(now);
    this.#saveAt = undefined;
    this.#closeIfDone(now);
  }

  /** Handles the timer. `late` means that it fired much later than it was set for, as after sleep. */
  handleTimeout(now: number, late = false): void {
    this.#outbox.handleTimeout(now);
    for (const failed of this.#requests.handleTimeout(now)) this.#settle(now, failed);
    this.#logs.handleTimeout(now, this.#config.random);
    if (this.#watchAt !== undefined && this.#watchAt <= now) {
      this.#watchAt = now + this.#config.watchEveryMs;
      this.#requests.ask(now, "rooms", { watch: { users: [...this.#watched] } });
    }
    if (this.#saveAt !== undefined && this.#saveAt <= now) this.#saveAt = undefined;
    const phase = this.#phase;
    if (phase.name === "waiting" && phase.until <= now && this.#reading) this.#start(now);
    else if ((phase.name === "opening" || phase.name === "greeting") && phase.deadline <= now) {
      this.#retry(now, phase.name === "greeting" ? CloseCode.IdleTimeout : undefined, `no welcome came from ${phase.endpoint} within ${ATTEMPT_MS / 1000} s`);
    } else if (phase.name === "connected") {
      phase.heartbeat.handleTimeout(now, late);
      if (phase.leave && phase.leave.from <= now) phase.leave.begun = true;
      if (phase.heartbeat.isDead(now)) this.#retry(now, CloseCode.IdleTimeout, "nothing came from the server for too long");
      else if (phase.leave?.begun) this.#leaveIfDone(now);
      else if (this.#askTokenAt !== undefined && this.#askTokenAt <= now) {
        this.#request = { reason: "expiring" };
        this.#askToken();
      }
    }
    this.#closeIfDone(now);
  }

  /** Returns the time at which to call {@link handleTimeout}. */
  pollTimeout(): number | undefined {
    const phase = this.#phase;
    if (phase.name === "closed") return undefined;
    let own: number | undefined;
    if (phase.name === "waiting") own = this.#reading ? phase.until : undefined;
    else if (phase.name === "opening" || phase.name === "greeting") own = phase.deadline;
    else if (phase.name === "connected") {
      const { leave } = phase;
      own = earliest(
        phase.heartbeat.pollTimeout(),
        leave?.begun ? leave.by : leave?.from,
        this.#askingToken || leave?.begun ? undefined : this.#askTokenAt,
        leave?.begun ? undefined : this.#marks.pollTimeout(),
      );
    }
    return earliest(own, this.#outbox.pollTimeout(), this.#requests.pollTimeout(), this.#logs.pollTimeout(), this.#watchAt, this.#saveAt, this.#closingBy);
  }

  pollAction(): Action | undefined {
    return this.#actions.shift();
  }

  pollEvent(): ClientEvent | undefined {
    for (let settled; (settled = this.#outbox.pollSettled()); ) {
      this.#events.push(settled.error ? { type: "send_failed", localId: settled.localId, error: settled.error } : { type: "sent", ...settled });
    }
    return this.#events.shift();
  }

  pollAnswered(): Answered | undefined {
    return this.#answered.shift();
  }

  /** Returns the next frame to send. It counts as sent. */
  pollTransmit(now: number): Uint8Array | undefined {
    const frame = this.#nextFrame(now);
    if (frame && this.#phase.name === "connected") this.#phase.heartbeat.handleSent(now);
    if (!frame) this.#closeIfDone(now);
    return frame;
  }

  /** Set if a change or a discarded send is not in the store yet. */
  get hasUnsaved(): boolean {
    return this.#saving !== undefined || this.#outbox.hasUnsaved || this.#marks.hasUnsaved;
  }

  /** Returns the next batch to save, one at a time. Its result goes to {@link handleSaved}. */
  pollSave(): Batch | undefined {
    const isClean = !this.#outbox.hasUnsaved && !this.#logs.hasUnsaved && !this.#marks.hasUnsaved && !this.#userUnsaved;
    if (this.#saving || this.#saveAt !== undefined || isClean) return undefined;
    this.#userUnsaved = false;
    this.#saving = {
      user: this.#user,
      ...this.#outbox.pollSave(),
      nextNumber: this.#outbox.nextNumber,
      renewed: this.#outbox.renewed,
      ...this.#logs.pollSave(),
      marks: this.#marks.pollSave(),
    };
    return this.#saving;
  }

  handleSaved(now: number, error?: ImError): void {
    const batch = this.#saving;
    this.#saving = undefined;
    if (!batch) return;
    if (!error) {
      this.#saveFailures = 0;
      this.#outbox.handleSaved(batch.put);
      this.#closeIfDone(now);
      return;
    }
    const ceiling = Math.min(SAVE_BASE_MS * 2 ** Math.min(this.#saveFailures++, 16), SAVE_CAP_MS);
    this.#saveAt = now + (ceiling / 2) * (1 + this.#config.random());
    this.#userUnsaved = true;
    this.#outbox.handleNotSaved(batch.put, batch.remove);
    this.#logs.handleNotSaved(batch.cursors, batch.left);
    this.#marks.handleNotSaved(batch.marks);
    if (this.#saveFailures === 1) this.#events.push({ type: "store_failed", error });
    this.#closeIfDone(now);
  }

  #nextFrame(now: number): Uint8Array | undefined {
    const phase = this.#phase;
    if (phase.name !== "greeting" && phase.name !== "connected") return undefined;
    const hello = this.#hello;
    this.#hello = undefined;
    if (hello) return hello;
    const pong = this.#pong;
    this.#pong = undefined;
    if (pong !== undefined) return encodeFrame({ pong: { echo: pong } });
    if (phase.name !== "connected") return undefined;
    const echo = phase.heartbeat.pollPing(now);
    if (echo !== undefined) return encodeFrame({ ping: { echo } });
    const ofLogs = this.#logs.pollTransmit(now, this.#config.random, this.#limits.maxFrameBytes);
    if (ofLogs) return encodeFrame(ofLogs);
    const signal = this.#signals.shift();
    if (signal) return signal;
    // A connection that is about to end sends no new requests, but results still arrive.
    if (phase.leave?.begun) return undefined;
    this.#askForConversations(now);
    const publish = this.#outbox.pollTransmit(now, this.#limits);
    if (publish) return publish;
    const request = this.#requests.pollTransmit(now);
    return request && encodeFrame(request);
  }

  #askForConversations(now: number): void {
    const marks = this.#marks.pollMarks(now);
    if (marks) this.#requests.ask(now, "marks", { mark: { marks } });
    const since = this.#marks.pollAsk(now);
    if (since !== undefined) this.#requests.ask(now, "changes", { conversations: { since } });
  }

  #start(now: number): void {
    if (!this.#reading) {
      this.#phase = { name: "waiting", until: now };
      return;
    }
    this.#phase = { name: "asking" };
    if (this.#endpoints.length === 0 || this.#failedInRound >= this.#endpoints.length) {
      this.#endpoints = [];
      this.#actions.push({ type: "ask_endpoints" });
    }
    const offset = this.#clockOffset;
    const isOver = this.#token?.expiresMs !== undefined && offset !== undefined && this.#token.expiresMs <= now + offset;
    if (isOver) this.#token = undefined;
    if (!this.#token) this.#askToken();
    this.#open(now);
  }

  #askToken(): void {
    this.#askTokenAt = undefined;
    if (this.#askingToken) return;
    this.#askingToken = true;
    this.#actions.push({ type: "ask_token", request: this.#request });
  }

  /** Opens a socket as soon as there is an endpoint and a token. */
  #open(now: number): void {
    const endpoint = this.#endpoints[this.#attempt % Math.max(1, this.#endpoints.length)];
    if (this.#phase.name !== "asking" || endpoint === undefined || !this.#token) return;
    if (encode("Hello", this.#greeting()).length > MAX_HELLO_BYTES) {
      return this.#stop("token", undefined, "the token is longer than servers allow: put fewer claims into it");
    }
    this.#phase = { name: "opening", endpoint, deadline: now + ATTEMPT_MS };
    this.#actions.push({ type: "connect", endpoint });
  }

  #greeting(): Init<import("../proto.js").Hello> {
    const { device, clientName } = this.#config;
    return { minVersion: VERSION, maxVersion: VERSION, token: this.#token?.text ?? "", device, client: clientName, resumes: this.#resumes };
  }

  #handleFrame(now: number, frame: Frame): void {
    if (frame.ping) {
      this.#pong = frame.ping.echo;
      return;
    }
    if (this.#phase.name === "greeting") {
      if (frame.welcome) this.#handleWelcome(now, frame.welcome, this.#phase.endpoint);
      else if (!frame.pong) throw new DecodeError("the first frame of the server is no welcome");
      return;
    }
    if (this.#phase.name !== "connected") return;
    if (frame.push) this.#handlePush(now, frame.push);
    else if (frame.publishResult) this.#outbox.handleResult(now, this.#config.random, frame.publishResult);
    else if (frame.response) this.#handleResponse(now, frame.response);
    else if (frame.syncDone) {
      const { ends, more } = frame.syncDone;
      if (!more) this.#marks.handleSynced(now);
      if (this.#logs.handleSyncDone(now, this.#config.random, ends, more)) this.#events.push({ type: "up_to_date" });
    } else if (frame.reset?.cursor) {
      const { channel, seq, id } = frame.reset.cursor;
      if (channel === "" || isId(channel)) this.#tell(this.#logs.handleReset(now, channel, { seq, id }, frame.reset.reason));
    } else if (frame.syncHint) {
      const { withinMs, rolledBack } = frame.syncHint;
      if (rolledBack) this.#marks.handleRolledBack();
      this.#logs.handleHint(now, this.#config.random, withinMs, rolledBack);
      if (this.#watchAt !== undefined) this.#watchAt = Math.min(this.#watchAt, now + this.#config.random() * withinMs);
    } else if (frame.goAway) {
      const within = frame.goAway.reconnectWithinMs;
      const delay = this.#config.random() * within;
      // The first request counts: a second random delay would not be uniform.
      this.#phase.leave ??= { from: now + delay, by: now + within, begun: delay === 0 };
    } else if (frame.signalled) {
      const { from, device } = frame.signalled;
      const isOwn = from === this.#user && device?.id === this.#config.device.id && device.terminal === this.#config.device.terminal;
      if (!isOwn) this.#events.push({ type: "signal", signal: frame.signalled });
    } else if (frame.presence) {
      this.#events.push({ type: "presence", presence: frame.presence });
    } else if (frame.roomLeft) {
      const { channel, cause, reason } = frame.roomLeft;
      if (this.#rooms.delete(channel)) {
        this.#events.push({ type: "room_left", channel, cause: cause === RoomLeftCause.Closed ? "closed" : "kicked", reason });
      }
    } else if (frame.conversationsChanged) {
      this.#tellStates(now, frame.conversationsChanged.states);
      for (const receipt of frame.conversationsChanged.receipts) this.#events.push({ type: "channel_read", receipt });
    }
  }

  #handleWelcome(now: number, welcome: Welcome, endpoint: string): void {
    if (welcome.version !== VERSION) {
      return this.#stop("protocol", CloseCode.UnsupportedVersion, `the server speaks version ${welcome.version}, and this client ${VERSION}`);
    }
    if (!isId(welcome.user)) throw new DecodeError("the welcome names no user");
    if (this.#user !== "" && this.#user !== welcome.user) {
      // Another user's outbox must not be sent.
      return this.#stop("other_user", undefined, `the store belongs to ${this.#user}, and the token to ${welcome.user}: open a store of its own for each user`);
    }
    if (this.#user === "") {
      this.#user = welcome.user;
      this.#userUnsaved = true;
    }
    const { maxFrameBytes = 0, maxInflightPublishes = 0 } = welcome.limits ?? {};
    this.#limits = {
      maxFrameBytes: Math.min(maxFrameBytes || USUAL.maxFrameBytes, MAX_RECEIVED_FRAME_BYTES),
      maxInflight: maxInflightPublishes || USUAL.maxInflight,
    };
    this.#resumes = true;
    this.#request = { reason: "reconnect" };
    this.#failedInRound = 0;
    const offset = (this.#clockOffset = welcome.serverTimeMs - now);
    this.#planToken(now, offset);
    this.#phase = { name: "connected", since: now, heartbeat: new Heartbeat(welcome.heartbeatMs || USUAL_HEARTBEAT_MS, now) };
    this.#events.push({ type: "connected", user: welcome.user, endpoint });
    this.#logs.handleConnected(now, this.#config.random);
    this.#marks.handleConnected(now);
    for (const [channel, { data }] of this.#rooms) this.#requests.ask(now, "rooms", { joinRoom: { channel, data } });
    if (this.#watched.length > 0) this.#requests.ask(now, "rooms", { watch: { users: [...this.#watched] } });
  }

  /** Plans the request of the next token: before the current one expires, by the server's clock. */
  #planToken(now: number, offset: number): void {
    const expiresMs = this.#token?.expiresMs;
    const left = expiresMs === undefined ? undefined : expiresMs - offset - now;
    // A short-lived token is replaced when a fifth of its time is left.
    this.#askTokenAt = left === undefined ? undefined : now + Math.max(left - TOKEN_MARGIN_MS, left * 0.8, 1000);
  }

  #handlePush(now: number, push: Push): void {
    const { message, channel, seq } = push;
    // An invalid message must not close the connection: it would arrive again and again.
    if (!message || (channel !== "" && !isId(channel))) return;
    const room = this.#logs.follows(channel) ? undefined : this.#rooms.get(channel);
    if (seq === 0) this.#deliver(push, undefined);
    else if (room) {
      if (note(room, message.id)) this.#deliver(push, undefined);
    } else this.#tell(this.#logs.handleEntry(now, channel, { seq, id: message.id, message }));
  }

  #tell(changes: readonly LogChange[]): void {
    for (const change of changes) {
      const { log } = change;
      if (change.reset) {
        this.#events.push({ type: "reset", position: { log, seq: change.reset.seq, id: change.reset.id }, reason: causeOf(change.reason) });
      } else {
        const { seq, id, message } = change.entry;
        this.#deliver({ message, channel: log, seq }, { log, seq, id });
      }
    }
  }

  #deliver(push: Push, position: Position | undefined): void {
    const message = received(push, position, (origin) => this.#sendOf(push, origin));
    if (message) this.#events.push({ type: "message", message });
  }

  /** Returns the send of this store that a message originates from. */
  #sendOf({ message }: Push, origin: bigint): number | undefined {
    return message?.from === this.#user ? open(this.#outbox.installation, origin) : undefined;
  }

  #handleResponse(now: number, response: Response): void {
    const answered = this.#requests.handleResponse(now, this.#config.random, response);
    if (answered) this.#settle(now, answered);
  }

  #settle(now: number, answered: Answered): void {
    const { asker, question, response, error } = answered;
    const isFinal = error?.code === "refused";
    const join = question.joinRoom?.channel;
    if (join !== undefined) {
      const room = this.#rooms.get(join);
      if (room && response) room.joined = true;
      if (room && error && (isFinal || !room.joined)) {
        this.#rooms.delete(join);
        if (room.joined && asker === "rooms") this.#events.push({ type: "room_left", channel: join, cause: "refused", reason: error.message });
      }
      // Messages that arrived meanwhile are reported once.
      const joined = response?.joinedRoom;
      if (room && joined) joined.recent = joined.recent.filter(({ message }) => message && note(room, message.id));
      if (room && asker === "rooms") for (const push of joined?.recent ?? []) this.#deliver(push, undefined);
    }
    if (question.watch && response) {
      this.#watched = question.watch.users ?? [];
      this.#watchAt = this.#watched.length > 0 ? now + this.#config.watchEveryMs * (1 - this.#config.random() / 2) : undefined;
      if (asker === "rooms") for (const presence of response.presences?.presences ?? []) this.#events.push({ type: "presence", presence });
    }
    if (asker === "marks") {
      this.#marks.handleAnswered(now, !error || isFinal);
      this.#tellStates(now, response?.marked?.states ?? []);
    } else if (asker === "changes") {
      const page = response?.conversations;
      const states = (page?.conversations ?? []).flatMap(({ state }) => state ?? []).sort((one, other) => one.version - other.version);
      if (page) {
        this.#marks.handleChanges(now, question.conversations?.since ?? 0, page.version, page.more, states);
        if (states.length > 0) this.#events.push({ type: "conversations_changed", states });
      } else this.#marks.handleChangesFailed(now, isFinal);
    } else if (asker !== "rooms") {
      if (response?.conversations && question.conversations?.since === undefined) this.#marks.follow(response.conversations.version);
      this.#answered.push(answered);
    }
  }

  #tellStates(now: number, states: readonly ConversationState[]): void {
    if (states.length === 0) return;
    for (const version of states.map((state) => state.version).sort((one, other) => one - other)) this.#marks.note(now, version);
    this.#events.push({ type: "conversations_changed", states });
  }

  /** Disconnects to use another server, once everything sent is answered. */
  #leaveIfDone(now: number): void {
    const leave = this.#phase.name === "connected" ? this.#phase.leave : undefined;
    if (leave?.begun && (!this.#outbox.isUnanswered || leave.by <= now)) this.#leave(now, CloseCode.GoingAway, "the server is about to stop");
  }

  /** Reconnects without a delay. */
  #leave(now: number, code: number | undefined, reason: string): void {
    this.#drop(CloseCode.ClientClosed, reason);
    this.#backoff.reset();
    this.#attempt++;
    this.#phase = { name: "waiting", until: now };
    this.#events.push({ type: "disconnected", code, reason, retryInMs: 0 });
  }

  #retry(now: number, code: number | undefined, reason: string): void {
    const phase = this.#phase;
    if (phase.name === "connected" && phase.since + USUAL_HEARTBEAT_MS <= now) this.#backoff.reset();
    if (phase.name !== "asking") {
      this.#attempt++;
      this.#failedInRound++;
    }
    this.#drop(code ?? CloseCode.ClientClosed, reason);
    const retryInMs = this.#backoff.next(this.#config.random);
    this.#phase = { name: "waiting", until: now + retryInMs };
    this.#events.push({ type: "disconnected", code, reason, retryInMs });
  }

  #stop(cause: StopCause, code: number | undefined, reason: string): void {
    if (code === CloseCode.Replaced) {
      // A later connect means that the application has decided to take the place back.
      this.#resumes = false;
      this.#request = { reason: "first" };
    }
    if (cause === "other_user" || cause === "token") this.#token = undefined;
    this.#drop(code ?? CloseCode.ClientClosed, reason);
    this.#backoff.reset();
    this.#phase = { name: "stopped", reason };
    this.#failRequests(stopped(reason));
    this.#events.push({ type: "stopped", cause, code, reason });
  }

  #drop(code: number, reason: string): void {
    this.#outbox.handleConnectionLost();
    this.#requests.handleConnectionLost();
    this.#marks.handleConnectionLost();
    this.#logs.handleConnectionLost();
    this.#signals.length = 0;
    this.#watchAt = this.#askTokenAt = this.#pong = this.#hello = undefined;
    this.#limits = USUAL;
    this.#actions.push({ type: "close", code, reason });
  }

  #failRequests(error: ImError): void {
    for (const failed of this.#requests.failAll(error)) {
      if (typeof failed.asker === "number") this.#answered.push(failed);
      else if (failed.asker === "marks") this.#marks.handleAnswered(0, false);
      else if (failed.asker === "changes") this.#marks.handleChangesFailed(0, true);
    }
  }

  #closeIfDone(now: number): void {
    if (this.#closingBy === undefined || this.#phase.name === "closed") return;
    const unfinished =
      this.#saving !== undefined || this.#outbox.hasUnsaved || this.#logs.hasUnsaved || this.#marks.hasUnsaved ||
      (this.#phase.name === "connected" && (this.#outbox.isUnanswered || this.#logs.hasUnsentAcks || !this.#marks.isEmpty));
    if (unfinished && now < this.#closingBy) return;
    this.#drop(CloseCode.ClientClosed, "");
    this.#phase = { name: "closed" };
    this.#failRequests(closed());
  }
}

/** Returns whether a message of a room is new, and remembers it. */
function note(room: Room, id: bigint): boolean {
  if (room.known.has(id)) return false;
  room.known.add(id);
  if (room.known.size > REMEMBERED) for (const oldest of room.known) return room.known.delete(oldest);
  return true;
}

function causeOf(reason: ResetReason): ResetCause {
  return reason === ResetReason.New ? "new" : reason === ResetReason.Forked ? "forked" : reason === ResetReason.Left ? "left" : "trimmed";
}

/** Returns a pushed message as the application sees it; `undefined` if it is invalid. */
export function received(push: Push, position?: Position, sendOf?: (origin: bigint) => number | undefined): ReceivedMessage | undefined {
  const { message, channel, seq } = push;
  if (!message || message.id === 0n || message.id >> 63n !== 0n) return undefined;
  if ([message.from, message.to].some((user) => user !== "" && !isId(user))) return undefined;
  return {
    id: message.id,
    from: message.from || undefined,
    to: message.to || undefined,
    channel: channel || undefined,
    content: message.content ?? create("Content"),
    seq,
    position,
    localId: sendOf?.(message.origin),
  };
}

/** Returns the expiry of a token, if it names one. */
function expiryOf(token: string): number | undefined {
  try {
    const claims = JSON.parse(atob((token.split(".")[1] ?? "").replaceAll("-", "+").replaceAll("_", "/"))) as { exp?: unknown };
    return typeof claims.exp === "number" ? claims.exp * 1000 : undefined;
  } catch {
    return undefined;
  }
}

/**
 * Checks that a content can be sent.
 *
 * @throws {@link ImError} with the code `invalid` or `too_large`.
 */
export function checkSend(to: Conversation, content: Uint8Array): void {
  if (content.length === 0) throw new ImError("invalid", "the message has no content: give it a kind, such as text");
  if (content.length > MAX_CONTENT_BYTES) {
    throw new ImError("too_large", `the message to ${keyOf(to)} takes ${content.length} bytes, and the limit is ${MAX_CONTENT_BYTES}: send less, or put media where a URL leads to`);
  }
}

/** Throws if too many users would be watched. */
export function checkWatch(users: readonly string[]): void {
  if (users.length > MAX_WATCHED) throw new ImError("invalid", `${users.length} users are to be watched, and the limit is ${MAX_WATCHED}: watch those that are in view`);
}

const closed = (): ImError => new ImError("closed", "the client is closed: open another one");
const stopped = (reason: string): ImError => new ImError("stopped", `the connection was ended for good (${reason}): call connect() when the user wants to go on`);
