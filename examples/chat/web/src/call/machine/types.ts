import type { Device } from "@im-sdk/client";

export type CallKind = "audio" | "video";

/** Why the microphone cannot be used. */
export type MediaProblem = "denied" | "missing" | "in_use" | "insecure" | "unknown";

/** Why a call is over, from this user's point of view. */
export type EndReason =
  | "hung_up"
  | "cancelled"
  | "declined"
  | "busy"
  | "no_answer"
  | "elsewhere"
  | "offline"
  | "no_media"
  | "unreachable"
  | "lost";

/** How a call went, as it is written into the conversation. */
export type Outcome = "answered" | "cancelled" | "declined" | "busy" | "no_answer" | "failed";

/** One message between the devices of a call. */
export type CallSignal =
  | { readonly step: "ring"; readonly kind: CallKind }
  | { readonly step: "cancel" }
  | { readonly step: "busy"; readonly isDeclined: boolean }
  /** The user has answered; the caller makes the offer. */
  | { readonly step: "accept" }
  | { readonly step: "offer"; readonly round: number; readonly sdp: string }
  /** Asks the caller for a new offer. */
  | { readonly step: "want_offer" }
  | { readonly step: "answer"; readonly round: number; readonly sdp: string }
  | { readonly step: "candidates"; readonly candidates: readonly RTCIceCandidateInit[] }
  | { readonly step: "hangup"; readonly isElsewhere: boolean }
  /** From the server: another device of this user has answered or declined. */
  | { readonly step: "elsewhere" };

/** A call. */
export interface Call {
  readonly id: string;
  readonly user: string;
  readonly kind: CallKind;
  readonly direction: "outgoing" | "incoming";
  /** The device at the other end. A caller learns it from the answer. */
  readonly device?: Device | undefined;
}

/**
 * Where a call is:
 *
 * - `preparing`: the browser is being asked for the microphone, before an outgoing call rings or an incoming one is answered.
 * - `calling`: it rings at the other user's devices.
 * - `ringing`: it rings here.
 * - `connecting`: answered, and there is no sound yet.
 */
export type CallState =
  | { readonly phase: "idle" }
  | { readonly phase: "preparing"; readonly call: Call }
  | { readonly phase: "calling"; readonly call: Call }
  | { readonly phase: "ringing"; readonly call: Call; readonly problem?: MediaProblem | undefined }
  | { readonly phase: "connecting"; readonly call: Call }
  | { readonly phase: "active"; readonly call: Call; readonly since: number; readonly isReconnecting: boolean }
  | {
      readonly phase: "ended";
      readonly call: Call;
      readonly reason: EndReason;
      readonly seconds: number;
      readonly problem?: MediaProblem | undefined;
    };

/**
 * - `ring`: how long it rings at the other user's devices.
 * - `repeat`: the next ring, for devices that have come online or did not hear the last one.
 * - `expire`: an incoming call is over if its caller falls silent.
 * - `retry`: the next attempt to connect.
 * - `connect`: gives up connecting.
 * - `dismiss`: how long the end of a call is shown.
 */
export type TimerName = "ring" | "repeat" | "expire" | "retry" | "connect" | "dismiss";

export type Input =
  | { readonly type: "start"; readonly id: string; readonly user: string; readonly kind: CallKind }
  | { readonly type: "accept" }
  /** Declines, cancels or hangs up. */
  | { readonly type: "end" }
  | { readonly type: "dismiss" }
  | { readonly type: "signal"; readonly id: string; readonly from: string; readonly device: Device; readonly signal: CallSignal }
  | { readonly type: "timer"; readonly name: TimerName }
  | MediaInput;

/** Results of effects, and what the media connection reports. */
export type MediaInput =
  /** The first ring was not sent: there is no connection. */
  | { readonly type: "offline"; readonly id: string }
  | { readonly type: "prepared"; readonly id: string }
  | { readonly type: "unprepared"; readonly id: string; readonly problem: MediaProblem }
  | { readonly type: "offered"; readonly id: string; readonly sdp: string }
  | { readonly type: "answered"; readonly id: string; readonly round: number; readonly sdp: string }
  | { readonly type: "candidates"; readonly id: string; readonly candidates: readonly RTCIceCandidateInit[] }
  | { readonly type: "link"; readonly id: string; readonly state: "connected" | "interrupted" | "failed" }
  /** The other device said goodbye over the media connection. */
  | { readonly type: "peer_left"; readonly id: string };

export type Effect =
  /** To one device, or to all of the user. */
  | { readonly type: "signal"; readonly id: string; readonly to: string; readonly device?: Device | undefined; readonly signal: CallSignal }
  | { readonly type: "set_timer"; readonly name: TimerName; readonly ms: number }
  | { readonly type: "clear_timer"; readonly name: TimerName }
  /** Asks for the microphone, and for the camera if it is a video call. */
  | { readonly type: "prepare"; readonly call: Call }
  /** Opens a peer connection. */
  | { readonly type: "connect"; readonly call: Call }
  | { readonly type: "make_offer"; readonly isRestart: boolean }
  | { readonly type: "take_offer"; readonly round: number; readonly sdp: string }
  | { readonly type: "take_answer"; readonly sdp: string }
  | { readonly type: "take_candidates"; readonly candidates: readonly RTCIceCandidateInit[] }
  /** Closes the peer connection and releases microphone and camera. */
  | { readonly type: "close"; readonly id: string }
  /** Writes into the conversation how the call went. */
  | { readonly type: "report"; readonly user: string; readonly kind: CallKind; readonly seconds: number; readonly outcome: Outcome };

/** Returns whether two devices are the same. */
export function isDevice(one: Device | undefined, other: Device): boolean {
  return one?.id === other.id && one.terminal === other.terminal;
}

/** Returns how a call went that was not answered. */
export function outcomeOf(reason: EndReason): Outcome {
  return reason === "cancelled" || reason === "declined" || reason === "busy" || reason === "no_answer" ? reason : "failed";
}
