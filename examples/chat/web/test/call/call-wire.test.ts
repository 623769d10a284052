import assert from "node:assert/strict";
import { test } from "node:test";
import { CallStep } from "@im-sdk/client";
import type { CallSignal } from "../../src/call/machine/types";
import { Assembler, decodeSignal, encodeSignal } from "../../src/call/wire";

const sdp = "a=candidate:1 1 udp 2113937151 häää.local 9 typ host\r\n".repeat(200);
const signals: readonly CallSignal[] = [
  { step: "ring", kind: "video" },
  { step: "ring", kind: "audio" },
  { step: "cancel" },
  { step: "busy", isDeclined: true },
  { step: "busy", isDeclined: false },
  { step: "accept" },
  { step: "offer", round: 1, sdp },
  { step: "want_offer" },
  { step: "answer", round: 7, sdp },
  { step: "candidates", candidates: [{ candidate: "candidate:1", sdpMid: "0", sdpMLineIndex: 0, usernameFragment: "x" }] },
  { step: "hangup", isElsewhere: true },
  { step: "hangup", isElsewhere: false },
  { step: "elsewhere" },
];

test("every signal comes out as it went in, in parts that fit and in any order", () => {
  const assembler = new Assembler();
  for (const [number, signal] of signals.entries()) {
    const { step, parts } = encodeSignal(signal, number);
    assert.ok(parts.every(({ length }) => length <= 3600));
    const whole = [...parts].reverse().flatMap((part) => assembler.take("bob 1", part) ?? []);
    assert.equal(whole.length, 1);
    assert.deepEqual(decodeSignal(step, whole[0] as Uint8Array), signal);
  }
});

test("parts of two messages do not mix", () => {
  const assembler = new Assembler();
  const [one, other] = [1, 2].map((round) => encodeSignal({ step: "offer", round, sdp }, round).parts) as [readonly Uint8Array[], readonly Uint8Array[]];
  const whole = one.flatMap((part, index) => [assembler.take("k", part), assembler.take("k", other[index] as Uint8Array)].filter((data) => data !== undefined));
  assert.deepEqual(whole.map((data) => decodeSignal(CallStep.Offer, data)), [1, 2].map((round) => ({ step: "offer", round, sdp })));
});

test("what other devices make up is read safely", () => {
  const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
  assert.deepEqual(decodeSignal(CallStep.Ring, new Uint8Array(0)), { step: "ring", kind: "audio" });
  assert.equal(decodeSignal(CallStep.Offer, bytes("v=0\r\n")), undefined);
  assert.equal(decodeSignal(CallStep.Offer, bytes("[1]")), undefined);
  assert.deepEqual(decodeSignal(CallStep.Offer, bytes('{"round":1e99,"sdp":"x"}')), { step: "want_offer" });
  assert.deepEqual(decodeSignal(CallStep.Candidate, bytes('{"candidates":[null,1,{"candidate":5},{"candidate":"c","sdpMid":{}}]}')), {
    step: "candidates",
    candidates: [{ candidate: "c", sdpMid: null, sdpMLineIndex: null, usernameFragment: null }],
  });
  assert.equal(decodeSignal(99 as CallStep, new Uint8Array(0)), undefined);
  const assembler = new Assembler();
  for (const header of [[0], [0, 1, 0, 0], [0, 1, 5, 3], [0, 1, 0, 255]]) assert.equal(assembler.take("k", new Uint8Array(header)), undefined);
});
