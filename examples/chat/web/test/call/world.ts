import { Terminal, type Device } from "@im-sdk/client";
import { CallMachine } from "../../src/call/machine/machine";
import { isDevice, type CallKind, type CallSignal, type CallState, type Effect, type Input, type MediaProblem, type TimerName } from "../../src/call/machine/types";

type Report = Extract<Effect, { type: "report" }>;

interface Sent {
  readonly id: string;
  readonly from: Phone;
  readonly to: Phone;
  readonly signal: CallSignal;
}

/** One device of a user, with a machine and a make-believe media connection. */
export class Phone {
  readonly machine: CallMachine;
  readonly device: Device;
  readonly timers = new Map<TimerName, number>();
  readonly reports: Report[] = [];
  readonly candidates: RTCIceCandidateInit[] = [];
  /** What the user sees of a call, in order, without repetitions. */
  readonly phases: CallState["phase"][] = ["idle"];
  microphone: "allowed" | "asking" | MediaProblem = "allowed";
  isOn = true;
  hasMedia = false;
  #offer = 0;

  constructor(readonly world: World, readonly user: string, id: string) {
    this.machine = new CallMachine(user);
    this.device = { terminal: Terminal.Web, id };
  }

  get state(): CallState {
    return this.machine.state;
  }

  call(user: string, kind: CallKind = "audio", id = `call-${this.user}-${this.world.now}`): string {
    this.do({ type: "start", id, user, kind });
    return id;
  }

  do(input: Input): void {
    if (!this.isOn) return;
    const effects = this.machine.handle(input, this.world.now);
    if (this.phases.at(-1) !== this.state.phase) this.phases.push(this.state.phase);
    for (const effect of effects) this.#perform(effect);
  }

  #perform(effect: Effect): void {
    const { world } = this;
    const id = "call" in this.state ? this.state.call.id : "";
    if (effect.type === "set_timer") this.timers.set(effect.name, world.now + effect.ms);
    else if (effect.type === "clear_timer") this.timers.delete(effect.name);
    else if (effect.type === "signal") world.send(this, effect);
    else if (effect.type === "report") this.reports.push(effect);
    else if (effect.type === "close") this.hasMedia = false;
    else if (effect.type === "connect") this.hasMedia = true;
    else if (effect.type === "prepare") this.#prepare(effect.call.id);
    else if (effect.type === "make_offer") world.later(10, () => this.do({ type: "offered", id, sdp: `offer ${++this.#offer}` }));
    else if (effect.type === "take_offer") world.later(10, () => this.do({ type: "answered", id, round: effect.round, sdp: `answer to ${effect.sdp}` }));
    else if (effect.type === "take_candidates") this.candidates.push(...effect.candidates);
    else if (effect.sdp === `answer to offer ${this.#offer}`) world.link(id);
  }

  #prepare(id: string): void {
    if (this.microphone === "asking") return;
    const { microphone } = this;
    this.world.later(20, () => this.do(microphone === "allowed" ? { type: "prepared", id } : { type: "unprepared", id, problem: microphone }));
  }
}

/** Devices, a server that relays signals as the real one does, and a clock. */
export class World {
  now = 1_000_000;
  readonly phones: Phone[] = [];
  /** Everything that was sent. */
  readonly sent: Sent[] = [];
  /** Whether media connections come about. */
  isReachable = true;
  /** Whether the server passes a device's signals on to the user's other devices, instead of telling them what to do. */
  copiesToOwn = false;
  /** Returns how long a signal travels, or `undefined` if it is lost. */
  delay: (sent: Sent) => number | undefined = () => 5;
  #events: { readonly at: number; readonly run: () => void }[] = [];

  phone(user: string, id = `${user}-1`): Phone {
    const phone = new Phone(this, user, id);
    this.phones.push(phone);
    return phone;
  }

  later(ms: number, run: () => void): void {
    this.#events.push({ at: this.now + ms, run });
  }

  send(from: Phone, { id, to, device, signal }: Extract<Effect, { type: "signal" }>): void {
    for (const phone of this.phones) {
      if (phone.user === to && phone !== from && (!device || isDevice(device, phone.device))) this.#relay({ id, from, to: phone, signal });
      const isOwnOther = phone.user === from.user && phone !== from && from.user !== to;
      if (this.copiesToOwn && isOwnOther) this.#relay({ id, from, to: phone, signal });
      // The server stops the ringing at the other devices of a user who has answered.
      const stops = signal.step === "accept" || signal.step === "answer" || signal.step === "busy";
      if (stops && isOwnOther && !this.copiesToOwn) this.#relay({ id, from, to: phone, signal: { step: "elsewhere" } });
    }
  }

  #relay(sent: Sent): void {
    this.sent.push(sent);
    const delay = this.delay(sent);
    const { id, from, to, signal } = sent;
    if (delay !== undefined) this.later(delay, () => to.do({ type: "signal", id, from: from.user, device: from.device, signal }));
  }

  /** Tells both ends of a call that media flow. */
  link(id: string, state: "connected" | "interrupted" | "failed" = "connected"): void {
    if (state === "connected" && !this.isReachable) return;
    const ends = this.phones.filter((phone) => phone.isOn && phone.hasMedia && "call" in phone.state && phone.state.call.id === id);
    if (ends.length === 2 || state !== "connected") for (const end of ends) this.later(5, () => end.do({ type: "link", id, state }));
  }

  /** Lets time pass. */
  run(ms: number): void {
    const until = this.now + ms;
    for (;;) {
      const timers = this.phones.flatMap((phone) => [...phone.timers].map(([name, at]) => ({ at, run: () => this.#fire(phone, name) })));
      const next = [...this.#events, ...timers].sort((one, other) => one.at - other.at)[0];
      if (!next || next.at > until) break;
      this.now = Math.max(this.now, next.at);
      this.#events = this.#events.filter((event) => event !== next);
      next.run();
    }
    this.now = until;
  }

  #fire(phone: Phone, name: TimerName): void {
    phone.timers.delete(name);
    phone.do({ type: "timer", name });
  }
}
