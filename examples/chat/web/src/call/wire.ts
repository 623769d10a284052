import { CallStep } from "@im-sdk/client";
import type { CallSignal } from "./machine/types";

/** A signal carries at most 4096 bytes with its addresses. A description with video is longer. */
const MAX_PART_BYTES = 3500;
const MAX_PARTS = 16;
/** Begins a part. JSON begins with another byte. */
const PART = 0;
const HEADER_BYTES = 4;
/** Incomplete messages that are kept. */
const MAX_INCOMPLETE = 16;
const MAX_CANDIDATES = 100;

/** Returns a signal as the SDK sends it: a step, and data for one or more signals. */
export function encodeSignal(signal: CallSignal, number: number): { readonly step: CallStep; readonly parts: readonly Uint8Array[] } {
  switch (signal.step) {
    case "ring":
      return encoded(CallStep.Ring, number, { kind: signal.kind });
    case "cancel":
      return encoded(CallStep.Cancel, number);
    case "busy":
      return encoded(CallStep.Busy, number, { declined: signal.isDeclined });
    case "accept":
      return encoded(CallStep.Answer, number);
    case "offer":
      return encoded(CallStep.Offer, number, { round: signal.round, sdp: signal.sdp });
    case "want_offer":
      return encoded(CallStep.Offer, number);
    case "answer":
      return encoded(CallStep.Answer, number, { round: signal.round, sdp: signal.sdp });
    case "candidates":
      return encoded(CallStep.Candidate, number, { candidates: signal.candidates });
    case "hangup":
      return encoded(CallStep.Hangup, number, { elsewhere: signal.isElsewhere });
    case "elsewhere":
      return encoded(CallStep.AnsweredElsewhere, number);
  }
}

/** Reads a signal. Returns `undefined` if the device at the other end sent something else. */
export function decodeSignal(step: CallStep, data: Uint8Array): CallSignal | undefined {
  const fields = parse(data);
  if (!fields) return undefined;
  const { round, sdp } = fields;
  const description = typeof round === "number" && Number.isSafeInteger(round) && typeof sdp === "string" ? { round, sdp } : undefined;
  switch (step) {
    case CallStep.Ring:
      return { step: "ring", kind: fields["kind"] === "video" ? "video" : "audio" };
    case CallStep.Cancel:
      return { step: "cancel" };
    case CallStep.Busy:
      return { step: "busy", isDeclined: fields["declined"] !== false };
    case CallStep.Offer:
      return description ? { step: "offer", ...description } : { step: "want_offer" };
    case CallStep.Answer:
      return description ? { step: "answer", ...description } : { step: "accept" };
    case CallStep.Candidate:
      return { step: "candidates", candidates: candidatesOf(fields["candidates"]) };
    case CallStep.Hangup:
      return { step: "hangup", isElsewhere: fields["elsewhere"] === true };
    case CallStep.AnsweredElsewhere:
      return { step: "elsewhere" };
    default:
      return undefined;
  }
}

function encoded(step: CallStep, number: number, fields?: object): { step: CallStep; parts: Uint8Array[] } {
  return { step, parts: fields ? split(new TextEncoder().encode(JSON.stringify(fields)), number) : [new Uint8Array(0)] };
}

function split(bytes: Uint8Array, number: number): Uint8Array[] {
  if (bytes.length <= MAX_PART_BYTES) return [bytes];
  const count = Math.ceil(bytes.length / MAX_PART_BYTES);
  return Array.from({ length: count }, (_, index) => {
    const part = bytes.subarray(index * MAX_PART_BYTES, (index + 1) * MAX_PART_BYTES);
    const framed = new Uint8Array(HEADER_BYTES + part.length);
    framed.set([PART, number & 0xff, index, count]);
    framed.set(part, HEADER_BYTES);
    return framed;
  });
}

/** Puts messages together that came in parts, in any order. */
export class Assembler {
  readonly #incomplete = new Map<string, (Uint8Array | undefined)[]>();

  /** Takes the data of a signal. Returns a message's data once all of it is there. `key` names the sender, the call and the step. */
  take(key: string, data: Uint8Array): Uint8Array | undefined {
    if (data[0] !== PART) return data;
    const [, number, index = 0, count = 0] = data;
    if (data.length < HEADER_BYTES || count > MAX_PARTS || index >= count) return undefined;
    const name = `${key} ${number} ${count}`;
    const parts = this.#incomplete.get(name) ?? new Array<Uint8Array | undefined>(count).fill(undefined);
    this.#incomplete.delete(name);
    parts[index] = data.subarray(HEADER_BYTES);
    const complete = parts.filter((part) => part !== undefined);
    if (complete.length === count) return joined(complete);
    this.#incomplete.set(name, parts);
    if (this.#incomplete.size > MAX_INCOMPLETE) for (const oldest of this.#incomplete.keys()) return void this.#incomplete.delete(oldest);
    return undefined;
  }
}

function joined(parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

function parse(data: Uint8Array): Record<string, unknown> | undefined {
  if (data.length === 0) return {};
  try {
    const value: unknown = JSON.parse(new TextDecoder().decode(data));
    return isRecord(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

function candidatesOf(value: unknown): RTCIceCandidateInit[] {
  if (!Array.isArray(value)) return [];
  return value.slice(0, MAX_CANDIDATES).flatMap((given: unknown) => {
    if (!isRecord(given)) return [];
    const { candidate, sdpMid, sdpMLineIndex, usernameFragment } = given;
    if (typeof candidate !== "string") return [];
    return {
      candidate,
      sdpMid: typeof sdpMid === "string" ? sdpMid : null,
      sdpMLineIndex: typeof sdpMLineIndex === "number" ? sdpMLineIndex : null,
      usernameFragment: typeof usernameFragment === "string" ? usernameFragment : null,
    };
  });
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
