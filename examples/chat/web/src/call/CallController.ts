import type { Client, Signalled } from "@im-sdk/client";
import { EXPIRE_MS } from "./machine/effects";
import { CallMachine } from "./machine/machine";
import type { CallKind, CallSignal, CallState, Effect, Input, TimerName } from "./machine/types";
import { CallMedia } from "./media/CallMedia";
import type { DeviceKind } from "./media/devices";
import type { LocalView } from "./media/LocalMedia";
import type { RemoteView } from "./media/PeerLink";
import { Sounds, type Sound } from "./media/sounds";
import { PhoneLine } from "./PhoneLine";
import { SignalSender } from "./SignalSender";
import { Assembler, decodeSignal } from "./wire";

/** What the screen shows of a call. */
export interface CallView {
  readonly state: CallState;
  readonly local: LocalView | undefined;
  readonly remote: RemoteView | undefined;
  readonly isMinimised: boolean;
}

export type StartResult = "started" | "in_call" | "other_tab";

type Ring = Extract<Input, { type: "signal" }>;

/** A ring for which this tab does not have the line yet. */
interface WaitingRing {
  ring: Ring;
  readonly stop: AbortController;
  timer: ReturnType<typeof setTimeout>;
}

const TAKE_LINE_MS = 800;
/** A tab that nobody looks at lets the others ring first. */
const HIDDEN_MS = 200;

/** Carries out what the state machine of calls decides: signals, timers, media, sounds. */
export class CallController {
  readonly #machine: CallMachine;
  readonly #line: PhoneLine;
  readonly #sender: SignalSender;
  readonly #assembler = new Assembler();
  readonly #sounds = new Sounds();
  readonly #timers = new Map<TimerName, ReturnType<typeof setTimeout>>();
  readonly #waiting = new Map<string, WaitingRing>();
  readonly #listeners = new Set<() => void>();
  readonly #stops = new AbortController();
  readonly #stopState: () => void;
  readonly #media: CallMedia;
  #rung = "";
  #isMinimised = false;
  #view: CallView = { state: { phase: "idle" }, local: undefined, remote: undefined, isMinimised: false };

  constructor(
    readonly client: Client,
    iceServers: () => Promise<RTCIceServer[]>,
  ) {
    this.#media = new CallMedia({ input: (input) => this.#handle(input), changed: () => this.#show(), iceServers });
    this.#machine = new CallMachine(client.user);
    this.#line = new PhoneLine(client.user, (id) => this.#overElsewhere(id));
    this.#sender = new SignalSender(client, (id, isSent) => this.#ringSent(id, isSent));
    this.#stopState = client.onState(() => client.state === "connected" && void this.#sender.flush());
    const { signal } = this.#stops;
    window.addEventListener("beforeunload", (event) => this.#isTalking && event.preventDefault(), { signal });
    window.addEventListener("pagehide", () => this.end(), { signal });
  }

  readonly subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  };

  readonly getSnapshot = (): CallView => this.#view;

  async start(user: string, kind: CallKind): Promise<StartResult> {
    const { phase } = this.#machine.state;
    const isFree = phase === "idle" || phase === "ended" || (phase === "ringing" && this.#machine.state.call.user === user);
    if (!isFree) return "in_call";
    if (!(await this.#line.take(AbortSignal.timeout(TAKE_LINE_MS)))) return "other_tab";
    this.#media.withCamera = true;
    this.#isMinimised = false;
    this.#withLine({ type: "start", id: crypto.randomUUID(), user, kind });
    return "started";
  }

  answer(withCamera: boolean): void {
    this.#media.withCamera = withCamera;
    this.#isMinimised = false;
    this.#handle({ type: "accept" });
  }

  /** Declines, cancels or hangs up; takes the end of a call off the screen. */
  end(): void {
    this.#handle({ type: "end" });
  }

  minimise(isMinimised: boolean): void {
    this.#isMinimised = isMinimised;
    this.#show();
  }

  setMuted(isMuted: boolean): void {
    this.#media.setMuted(isMuted);
  }

  setCamera(isOn: boolean): void {
    this.#media.setCamera(isOn);
  }

  choose(kind: DeviceKind, id: string): void {
    this.#media.choose(kind, id);
  }

  receive({ from, device, call }: Signalled): void {
    if (!call || !device) return;
    const data = this.#assembler.take([from, device.terminal, device.id, call.id, call.step].join(" "), call.data);
    const signal = data && decodeSignal(call.step, data);
    if (signal) this.#route({ type: "signal", id: call.id, from, device, signal }, signal);
  }

  close(): void {
    this.end();
    this.#handle({ type: "dismiss" });
    this.#stops.abort();
    this.#stopState();
    for (const { stop, timer } of this.#waiting.values()) {
      clearTimeout(timer);
      stop.abort();
    }
    this.#line.close();
  }

  get #isTalking(): boolean {
    const { phase } = this.#machine.state;
    return phase === "connecting" || phase === "active";
  }

  #route(input: Ring, signal: CallSignal): void {
    const { id } = input;
    const isRing = signal.step === "ring" && input.from !== this.client.user;
    if (isRing && !this.#line.isHeld && !this.#machine.knows(id)) return void this.#await(input);
    this.#handle(input);
    if (!this.#machine.isOver(id)) return;
    this.#stopWaiting(id);
    this.#line.tellOver(id);
  }

  /** Rings once this tab has the line. */
  async #await(ring: Ring): Promise<void> {
    const timer = setTimeout(() => this.#stopWaiting(ring.id), EXPIRE_MS);
    const known = this.#waiting.get(ring.id);
    if (known) {
      clearTimeout(known.timer);
      Object.assign(known, { ring, timer });
      return;
    }
    const waiting: WaitingRing = { ring, timer, stop: new AbortController() };
    this.#waiting.set(ring.id, waiting);
    if (document.hidden) await new Promise((resolve) => setTimeout(resolve, HIDDEN_MS));
    const isTaken = !waiting.stop.signal.aborted && (await this.#line.take(waiting.stop.signal));
    this.#stopWaiting(ring.id);
    if (isTaken) this.#withLine(waiting.ring);
  }

  /** Begins a call, and gives the line back if there is none. */
  #withLine(input: Input): void {
    this.#handle(input);
    const { phase } = this.#machine.state;
    if (phase === "idle" || phase === "ended") this.#line.release();
  }

  #stopWaiting(id: string): void {
    const waiting = this.#waiting.get(id);
    if (!waiting) return;
    this.#waiting.delete(id);
    clearTimeout(waiting.timer);
    waiting.stop.abort();
  }

  #overElsewhere(id: string): void {
    this.#stopWaiting(id);
    // From here on this tab knows it as one that is over.
    if (!this.#machine.knows(id)) this.#machine.forget(id);
  }

  #handle(input: Input): void {
    const before = this.#machine.state;
    const effects = this.#machine.handle(input, Date.now());
    const after = this.#machine.state;
    for (const effect of effects) this.#perform(effect);
    if (after === before) return this.#show();
    this.#sounds.play(soundOf(before, after));
    if (after.phase === "idle" || after.phase === "ended") {
      if (before.phase !== "idle" && before.phase !== "ended") this.#line.tellOver(before.call.id);
      this.#line.release();
    }
    this.#show();
  }

  #perform(effect: Effect): void {
    switch (effect.type) {
      case "signal":
        return this.#sender.send(effect);
      case "set_timer":
        clearTimeout(this.#timers.get(effect.name));
        return void this.#timers.set(effect.name, setTimeout(() => this.#handle({ type: "timer", name: effect.name }), effect.ms));
      case "clear_timer":
        return clearTimeout(this.#timers.get(effect.name));
      case "report":
        return this.#report(effect);
      default:
        return this.#media.perform(effect);
    }
  }

  #ringSent(id: string, isSent: boolean): void {
    if (isSent) this.#rung = id;
    else if (this.#rung !== id) this.#handle({ type: "offline", id });
  }

  #report({ user, kind, seconds, outcome }: Extract<Effect, { type: "report" }>): void {
    const data = new TextEncoder().encode(JSON.stringify({ kind, seconds, outcome }));
    // A full outbox shows in the conversation itself.
    this.client.send({ user }, { custom: { kind: "call.ended", data } }).catch(() => {});
  }

  #show(): void {
    const { state } = this.#machine;
    this.#view = { state, local: this.#media.local, remote: this.#media.remote, isMinimised: this.#isMinimised };
    for (const listener of this.#listeners) listener();
  }
}

function soundOf(before: CallState, { phase }: CallState): Sound | undefined {
  if (phase === "ringing") return "ring";
  if (phase === "calling") return "ringback";
  const wasHeard = before.phase === "calling" || before.phase === "connecting" || before.phase === "active";
  return phase === "ended" && wasHeard ? "end" : undefined;
}
