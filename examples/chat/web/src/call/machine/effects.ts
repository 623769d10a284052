import type { Call, CallSignal, Effect, TimerName } from "./types";

/** How long each timer runs. */
export const RING_MS = 45_000;
export const REPEAT_MS = 5_000;
/** Two repetitions may be lost, and timers of hidden tabs are late. */
export const EXPIRE_MS = 14_000;
export const RETRY_MS = 8_000;
/** Short interruptions heal without a restart. */
export const INTERRUPTED_MS = 2_000;
export const CONNECT_MS = 30_000;
export const DISMISS_MS = 4_000;

const TIMERS: readonly TimerName[] = ["ring", "repeat", "expire", "retry", "connect", "dismiss"];

/** Collects the effects of one input, in order. */
export class Effects {
  #effects: Effect[] = [];

  add(effect: Effect): void {
    this.#effects.push(effect);
  }

  /** Sends to the device at the other end. */
  tell({ id, user, device }: Call, signal: CallSignal): void {
    if (device) this.add({ type: "signal", id, to: user, device, signal });
  }

  /** Sends to all devices of the other user. */
  tellAll({ id, user }: Call, signal: CallSignal): void {
    this.add({ type: "signal", id, to: user, signal });
  }

  set(name: TimerName, ms: number): void {
    this.add({ type: "set_timer", name, ms });
  }

  clear(...names: TimerName[]): void {
    for (const name of names.length > 0 ? names : TIMERS) this.add({ type: "clear_timer", name });
  }

  take(): Effect[] {
    const effects = this.#effects;
    this.#effects = [];
    return effects;
  }
}
