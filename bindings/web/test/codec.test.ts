import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { DecodeError, FrameTooLargeError, create, decode, decodeFrames, encode, encodeFrame } from "../src/codec.js";
import { tables, type Messages } from "../src/proto.js";
import { fromJson } from "./json.js";

interface Vector { name: string; hex: string; json: Record<string, unknown>; type?: keyof Messages; code: string }
const path = process.env["IM_VECTORS"] ?? "../../proto/vectors/frames.json";
const vectors = JSON.parse(readFileSync(path, "utf8")) as Record<"frames" | "messages" | "readable" | "refused", Vector[]>;
const bytes = (hex: string): Uint8Array => new Uint8Array(Buffer.from(hex, "hex"));
const hex = (value: Uint8Array): string => Buffer.from(value).toString("hex");
const MAX = 65536;
/** Messages between servers, which devices never see. */
const nameOf = (vector: Vector): string => String(vector.type).replace("im.v1.", "");
const isOfDevices = (vector: Vector): boolean => nameOf(vector) in tables;

test("every frame of the vectors is read and written as the protocol says", () => {
  assert.ok(vectors.frames.length > 40);
  for (const vector of vectors.frames) {
    const [frame] = [...decodeFrames(bytes(vector.hex), MAX)];
    assert.ok(frame, vector.name);
    const expected = fromJson("Frame", vector.json);
    assert.deepEqual(frame, create("Frame", expected), vector.name);
    assert.equal(hex(encodeFrame(expected)), vector.hex, vector.name);
    assert.equal(hex(encodeFrame(frame)), vector.hex, vector.name);
  }
});

test("every other message of the vectors is read and written as the protocol says", () => {
  const known = vectors.messages.filter(isOfDevices);
  assert.ok(known.length > 20);
  for (const vector of known) {
    const name = nameOf(vector) as keyof Messages;
    const expected = fromJson(name, vector.json);
    assert.equal(hex(encode(name, expected)), vector.hex, vector.name);
    assert.equal(hex(encode(name, decode(name, bytes(vector.hex)))), vector.hex, vector.name);
  }
});

test("frames that are written otherwise are read", () => {
  for (const vector of vectors.readable) {
    const frames = [...decodeFrames(bytes(vector.hex), MAX)];
    const known = (frame: object | undefined): object => {
      const { $unknown: _, ...rest } = { $unknown: 0, ...frame };
      return rest;
    };
    const want = known(create("Frame", fromJson("Frame", vector.json)));
    assert.deepEqual(strip(known(frames.at(-1))), strip(want), vector.name);
  }
});

/** Without what this version does not know. */
function strip(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(strip);
  if (value === null || typeof value !== "object" || value instanceof Uint8Array) return value;
  return Object.fromEntries(Object.entries(value).filter(([key]) => key !== "$unknown").map(([key, inner]) => [key, strip(inner)]));
}

test("wrong messages are refused with the code that the vectors name", () => {
  for (const vector of vectors.refused) {
    let error: unknown;
    try {
      const data = bytes(vector.hex);
      if (data.length > 4 * (MAX + 5)) throw new FrameTooLargeError("the message");
      [...decodeFrames(data, MAX)];
    } catch (caught) {
      error = caught;
    }
    const code = error instanceof FrameTooLargeError ? "frame_too_large" : error instanceof DecodeError ? "protocol_error" : "none";
    const expected = typeof vector.code === "number" ? { 4400: "protocol_error", 4402: "frame_too_large" }[vector.code as 4400] : vector.code;
    assert.equal(code, expected, vector.name);
  }
});

test("content of a newer version is passed on as it came", () => {
  const newer = bytes("6206" + "0a0474657874" + "a80101" + "0a06" + "0a0268695001");
  const content = decode("Content", newer);
  assert.equal(content.text?.text, "hi");
  assert.ok(content.$unknown && content.text?.$unknown);
  const again = decode("Content", encode("Content", content));
  assert.deepEqual(again, content);
});
