import type { Device } from "@im-sdk/client";
import { CONNECT_MS, DISMISS_MS, EXPIRE_MS, Effects, INTERRUPTED_MS, REPEAT_MS, RING_MS } from "./effects";
import { Negotiation } from "./negotiation";
import { OverCalls } from "./over";
import {
  isDevice,
  outcomeOf,
  type Call,
  type CallKind,
  type CallSignal,
  type CallState,
  type Effect,
  type EndReason,
  type Input,
  type MediaInput,
  type MediaProblem,
  type TimerName,
} from "./types";

const BUSY: CallSignal = { step: "busy", isDeclined: false };
const DECLINED: CallSignal = { step: "busy", isDeclined: true };

type Live = Exclude<CallState, { phase: "idle" | "ended" }>;

/**
 * One-to-one calls of one device, as a state machine: inputs are what the user does, signals, timers and the media connection;
 * outputs are effects for a driver to carry out in order. It does no I/O and knows no clock but `now`.
 *
 * The caller makes all offers. Its device rings at all devices of the other user; the first one that accepts becomes the other
 * end, and everything after that goes to this device alone. If two users call each other at once, the call with the lower id
 * goes on and the other one is dropped.
 */
export class CallMachine {
  #state: CallState = { phase: "idle" };
  readonly #effects = new Effects();
  readonly #negotiation = new Negotiation(this.#effects);
  readonly #over = new OverCalls();

  constructor(readonly me: string) {}

  get state(): CallState {
    return this.#state;
  }

  /** Returns whether a call is the present one, or one that is over. */
  knows(id: string): boolean {
    return this.isOver(id) || this.#live?.call.id === id;
  }

  /** Takes a call for over, as another tab has said. */
  forget(id: string): void {
    this.#over.add(id);
  }

  isOver(id: string): boolean {
    return this.#over.has(id);
  }

  handle(input: Input, now: number): Effect[] {
    if (input.type === "start") this.#start(input.id, input.user, input.kind);
    else if (input.type === "dismiss") this.#dismiss();
    else if (input.type === "signal") this.#signal(input.id, input.from, input.device, input.signal, now);
    else if (input.type === "timer") this.#timer(input.name, now);
    else if (input.type === "accept") this.#accept();
    else if (input.type === "end") this.#end(now);
    else this.#media(input, now);
    return this.#effects.take();
  }

  get #live(): Live | undefined {
    return this.#state.phase === "idle" || this.#state.phase === "ended" ? undefined : this.#state;
  }

  #start(id: string, user: string, kind: CallKind): void {
    const live = this.#live;
    if (live?.phase === "ringing" && live.call.user === user) return this.#accept();
    if (live || user === this.me) return;
    this.#begin({ id, user, kind, direction: "outgoing" });
  }

  #begin(call: Call): void {
    this.#effects.clear("dismiss");
    this.#state = { phase: "preparing", call };
    this.#effects.add({ type: "prepare", call });
  }

  #accept(): void {
    if (this.#state.phase === "ringing") this.#begin(this.#state.call);
  }

  #dismiss(): void {
    if (this.#state.phase !== "ended") return;
    this.#effects.clear("dismiss");
    this.#state = { phase: "idle" };
  }

  /** Ends the call on the user's behalf, and tells the other side. */
  #end(now: number): void {
    const live = this.#live;
    if (!live) return this.#dismiss();
    const { call, phase } = live;
    if (phase === "calling") this.#effects.tellAll(call, { step: "cancel" });
    else if (phase === "connecting" || phase === "active") this.#effects.tell(call, { step: "hangup", isElsewhere: false });
    else if (call.direction === "incoming") this.#effects.tell(call, DECLINED);
    const isCancelled = call.direction === "outgoing" && phase !== "active";
    this.#finish(isCancelled ? "cancelled" : isWaiting(live) ? "declined" : "hung_up", now);
  }

  #finish(reason: EndReason, now: number, problem?: MediaProblem): void {
    const live = this.#live;
    if (!live) return;
    const { call, phase } = live;
    const seconds = live.phase === "active" ? Math.max(0, Math.round((now - live.since) / 1000)) : 0;
    this.#over.add(call.id, reason === "declined" && call.direction === "incoming" ? DECLINED : undefined);
    this.#effects.clear();
    this.#effects.add({ type: "close", id: call.id });
    if (call.direction === "outgoing" && phase !== "preparing" && reason !== "offline") {
      const outcome = phase === "active" ? "answered" : outcomeOf(reason);
      this.#effects.add({ type: "report", user: call.user, kind: call.kind, seconds, outcome });
    }
    this.#state = { phase: "ended", call, reason, seconds, problem };
    // An explanation of what to do stays until it is dismissed.
    if (!problem) this.#effects.set("dismiss", DISMISS_MS);
  }

  #signal(id: string, from: string, device: Device, signal: CallSignal, now: number): void {
    if (from === this.me) return this.#fromOwnDevice(id, signal, now);
    if (this.#over.has(id)) return this.#late(id, from, device, signal);
    if (signal.step === "ring") return this.#rung({ id, user: from, kind: signal.kind, direction: "incoming", device }, now);
    const live = this.#live;
    if (live?.call.id !== id) {
      // A cancel may come before its ring.
      if (signal.step === "cancel") this.#over.add(id);
      return;
    }
    if (from !== live.call.user) return;
    if (live.phase === "calling") return this.#heard(live.call, device, signal, now);
    if (isDevice(live.call.device, device)) return this.#fromPeer(live, signal, now);
    // Two devices of the user answered at once, and this one came second.
    if (signal.step === "accept" && live.call.direction === "outgoing") this.#effects.tell({ ...live.call, device }, { step: "hangup", isElsewhere: true });
  }

  /**
   * Another device of this user has answered or declined. The server says so, or passes on what that device says, as its
   * application decides.
   */
  #fromOwnDevice(id: string, { step }: CallSignal, now: number): void {
    if (step !== "elsewhere" && step !== "accept" && step !== "busy") return;
    const live = this.#live;
    if (live?.call.id !== id) this.#over.add(id);
    else if (isWaiting(live)) this.#finish("elsewhere", now);
  }

  #late(id: string, to: string, device: Device, signal: CallSignal): void {
    const reply = this.#over.replyTo(id, signal);
    if (reply) this.#effects.add({ type: "signal", id, to, device, signal: reply });
  }

  #rung(call: Call, now: number): void {
    const live = this.#live;
    if (live?.call.id === call.id) {
      if (call.user === live.call.user && isWaiting(live)) this.#effects.set("expire", EXPIRE_MS);
      return;
    }
    if (!live) return this.#ring(call);
    const isSameUser = live.call.user === call.user;
    if (isSameUser && live.call.direction === "outgoing" && (live.phase === "preparing" || live.phase === "calling")) return this.#glare(live, call);
    if (isSameUser && isDevice(live.call.device, call.device as Device)) {
      // Before the call is active, the ring may be one that lost against the present call and came late.
      if (live.phase !== "active") return;
      // The device calls anew: it does not know the present call any more.
      this.#finish("lost", now);
      return this.#ring(call);
    }
    this.#effects.tell(call, BUSY);
    this.#over.add(call.id, BUSY);
  }

  #ring(call: Call): void {
    this.#effects.clear("dismiss");
    this.#state = { phase: "ringing", call };
    this.#effects.set("expire", EXPIRE_MS);
  }

  /** The user whom this one calls is calling this one. */
  #glare(live: Live, theirs: Call): void {
    if (live.phase === "preparing") {
      this.#over.add(live.call.id);
      this.#state = { phase: "preparing", call: { ...theirs, kind: live.call.kind } };
      this.#effects.set("expire", EXPIRE_MS);
      // The microphone is being asked for under the other id: asks under this one.
      this.#effects.add({ type: "prepare", call: this.#state.call });
      return;
    }
    if (live.call.id < theirs.id) return this.#over.add(theirs.id);
    this.#effects.tellAll(live.call, { step: "cancel" });
    this.#over.add(live.call.id);
    this.#effects.clear("ring", "repeat");
    this.#connect({ ...theirs, kind: live.call.kind });
  }

  /** A signal from one of the devices at which it rings. */
  #heard(call: Call, device: Device, signal: CallSignal, now: number): void {
    if (signal.step === "busy") this.#finish(signal.isDeclined ? "declined" : "busy", now);
    if (signal.step !== "accept") return;
    this.#effects.clear("ring", "repeat");
    this.#connect({ ...call, device });
  }

  #connect(call: Call): void {
    this.#effects.clear("expire");
    this.#state = { phase: "connecting", call };
    this.#effects.add({ type: "connect", call });
    this.#effects.set("connect", CONNECT_MS);
    this.#negotiation.begin(call);
  }

  /** A signal from the device at the other end. */
  #fromPeer(live: Live, signal: CallSignal, now: number): void {
    const { call, phase } = live;
    if (signal.step === "cancel" && phase !== "active") this.#finish("cancelled", now);
    else if (signal.step === "hangup") this.#finish(signal.isElsewhere ? "elsewhere" : "hung_up", now);
    else if (phase === "connecting" || phase === "active") this.#negotiation.hear(call, signal);
  }

  #media(input: MediaInput, now: number): void {
    const live = this.#live;
    if (live?.call.id !== input.id) return;
    const { call, phase } = live;
    if (input.type === "offline") {
      if (phase === "calling") this.#finish("offline", now);
    } else if (input.type === "prepared") {
      if (phase === "preparing") this.#prepared(call);
    } else if (input.type === "unprepared") {
      if (phase === "preparing") this.#unprepared(call, input.problem, now);
    } else if (input.type === "offered") this.#negotiation.offer(call, input.sdp);
    else if (input.type === "answered") this.#effects.tell(call, { step: "answer", round: input.round, sdp: input.sdp });
    else if (input.type === "candidates") this.#effects.tell(call, { step: "candidates", candidates: input.candidates });
    else if (input.type === "peer_left") this.#finish("hung_up", now);
    else this.#link(live, input.state, now);
  }

  #prepared(call: Call): void {
    if (call.direction === "incoming") return this.#connect(call);
    this.#state = { phase: "calling", call };
    this.#effects.set("ring", RING_MS);
    this.#ringOut(call);
  }

  #ringOut(call: Call): void {
    this.#effects.tellAll(call, { step: "ring", kind: call.kind });
    this.#effects.set("repeat", REPEAT_MS);
  }

  /** An incoming call goes on ringing: the user may allow the microphone and answer again. */
  #unprepared(call: Call, problem: MediaProblem, now: number): void {
    if (call.direction === "incoming") this.#state = { phase: "ringing", call, problem };
    else this.#finish("no_media", now, problem);
  }

  #link(live: Live, state: "connected" | "interrupted" | "failed", now: number): void {
    const { call } = live;
    if (live.phase !== "connecting" && live.phase !== "active") return;
    if (state === "connected") {
      this.#effects.clear("connect", "retry");
      this.#state = { phase: "active", call, since: live.phase === "active" ? live.since : now, isReconnecting: false };
      return;
    }
    if (live.phase === "active" && !live.isReconnecting) {
      this.#state = { ...live, isReconnecting: true };
      this.#effects.set("connect", CONNECT_MS);
    }
    if (state === "failed") this.#negotiation.try(call, true);
    else this.#effects.set("retry", INTERRUPTED_MS);
  }

  #timer(name: TimerName, now: number): void {
    if (name === "dismiss") return this.#dismiss();
    const live = this.#live;
    if (!live) return;
    const { call, phase } = live;
    const isConnecting = phase === "connecting" || (phase === "active" && live.isReconnecting);
    if (name === "ring" && phase === "calling") {
      this.#effects.tellAll(call, { step: "cancel" });
      this.#finish("no_answer", now);
    } else if (name === "repeat" && phase === "calling") this.#ringOut(call);
    else if (name === "expire" && isWaiting(live)) this.#finish("cancelled", now);
    else if (name === "retry" && isConnecting) this.#negotiation.try(call, true);
    else if (name === "connect" && isConnecting) {
      this.#effects.tell(call, { step: "hangup", isElsewhere: false });
      this.#finish(phase === "active" ? "lost" : "unreachable", now);
    }
  }
}

/** Returns whether an incoming call has not been answered yet. */
function isWaiting({ phase, call }: Live): boolean {
  return call.direction === "incoming" && (phase === "ringing" || phase === "preparing");
}
