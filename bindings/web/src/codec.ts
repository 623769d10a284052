/**
 * The protobuf codec: field tables read by one small encoder and one small decoder.
 *
 * Unknown fields are kept as they arrived and written again, so that content of a newer version survives.
 */
import { tables, type Messages } from "./proto.js";

/** The fields to write of a message. All are optional; omitted ones have their defaults. */
export type Init<T> = T extends Uint8Array | bigint | string | number | boolean
  ? T
  : T extends (infer U)[]
    ? Init<U>[]
    : T extends object
      ? { [K in keyof T]?: Init<T[K]> | undefined }
      : T;

/** Thrown for bytes that are not the expected protobuf message. */
export class DecodeError extends Error {
  override readonly name = "DecodeError";
}

type Value = Record<string, unknown>;

interface Field {
  readonly name: string;
  readonly number: number;
  readonly type: string;
  readonly message: keyof Messages | "";
  readonly repeated: boolean;
  /** Set if it is written even with its default value. */
  readonly explicit: boolean;
  /** The other fields of its `oneof`. */
  readonly rivals: readonly string[];
}

interface Schema {
  readonly fields: readonly Field[];
  readonly byNumber: ReadonlyMap<number, Field>;
  readonly defaults: Value;
  readonly lists: readonly string[];
  readonly maps: readonly string[];
}

const NONE = new Uint8Array(0);
const DEFAULTS: Readonly<Record<string, unknown>> = {
  s: "", b: NONE, o: false, u: 0, i: 0, z: 0, n: 0, l: 0, f: 0n, g: 0n,
};
/** Wire types of single values; strings, bytes, maps and messages have 2. */
const WIRE: Readonly<Record<string, number>> = { o: 0, u: 0, i: 0, z: 0, n: 0, l: 0, g: 0, f: 1 };
const MAX_DEPTH = 100;
/** Shorter texts are decoded without the platform's decoder, which is slow to start. */
const SHORT = 40;

const schemas = new Map<string, Schema>();

function schemaOf(name: keyof Messages): Schema {
  const known = schemas.get(name);
  if (known) return known;
  const rows = tables[name].split("|").filter(Boolean).map((row) => row.split(" ") as [string, string, string, string?]);
  const fields = rows.map(([field, number, type, flag = ""]): Field => ({
    name: field,
    number: Number(number),
    type: type[0] as string,
    message: type.slice(1) as keyof Messages,
    repeated: flag === "*",
    explicit: flag === "?" || flag[0] === "^",
    rivals: flag[0] === "^" ? rows.filter((row) => row[3] === flag && row[0] !== field).map((row) => row[0]) : [],
  }));
  const defaults: Value = {};
  for (const field of fields) {
    if (!field.repeated && !field.explicit && field.type in DEFAULTS) defaults[field.name] = DEFAULTS[field.type];
  }
  const schema: Schema = {
    fields,
    byNumber: new Map(fields.map((field) => [field.number, field])),
    defaults,
    lists: fields.filter((field) => field.repeated).map((field) => field.name),
    maps: fields.filter((field) => field.type === "p").map((field) => field.name),
  };
  schemas.set(name, schema);
  return schema;
}

function empty(schema: Schema): Value {
  const value: Value = { ...schema.defaults };
  for (const list of schema.lists) value[list] = [];
  for (const map of schema.maps) value[map] = {};
  return value;
}

/** Returns a message with the given fields and the defaults of all others. */
export function create<K extends keyof Messages>(name: K, init: Init<Messages[K]> = {} as Init<Messages[K]>): Messages[K] {
  return decode(name, encode(name, init));
}

const textEncoder = new TextEncoder();
const textDecoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

class Writer {
  bytes = new Uint8Array(256);
  length = 0;

  reserve(count: number): void {
    if (this.length + count <= this.bytes.length) return;
    const grown = new Uint8Array(Math.max(this.bytes.length * 2, this.length + count));
    grown.set(this.bytes);
    this.bytes = grown;
  }

  varint(value: number): void {
    this.reserve(10);
    while (value > 127) {
      this.bytes[this.length++] = (value % 128) | 128;
      value = Math.floor(value / 128);
    }
    this.bytes[this.length++] = value;
  }

  big(value: bigint): void {
    let rest = BigInt.asUintN(64, value);
    this.reserve(10);
    while (rest > 127n) {
      this.bytes[this.length++] = Number(rest & 127n) | 128;
      rest >>= 7n;
    }
    this.bytes[this.length++] = Number(rest);
  }

  raw(value: Uint8Array): void {
    this.reserve(value.length);
    this.bytes.set(value, this.length);
    this.length += value.length;
  }

  /** Writes the output of `body`, preceded by its length. */
  delimited(body: () => void): void {
    this.reserve(1);
    const start = ++this.length;
    body();
    const size = this.length - start;
    const more = size < 128 ? 0 : size < 16384 ? 1 : size < 2097152 ? 2 : 3;
    if (more) {
      this.reserve(more);
      this.bytes.copyWithin(start + more, start, this.length);
    }
    this.length = start - 1;
    this.varint(size);
    this.length = start + more + size;
  }

  string(value: string): void {
    const bytes = textEncoder.encode(value);
    this.varint(bytes.length);
    this.raw(bytes);
  }

  scalar(type: string, value: unknown): void {
    switch (type) {
      case "s":
        return this.string(value as string);
      case "b":
        this.varint((value as Uint8Array).length);
        return this.raw(value as Uint8Array);
      case "f":
        this.reserve(8);
        new DataView(this.bytes.buffer).setBigUint64(this.length, BigInt.asUintN(64, value as bigint), true);
        this.length += 8;
        return;
      case "g":
        return this.big(value as bigint);
      case "z":
        return this.varint((((value as number) << 1) ^ ((value as number) >> 31)) >>> 0);
      default: {
        const number = Number(value);
        return number < 0 ? this.big(BigInt(number)) : this.varint(number);
      }
    }
  }

  message(name: keyof Messages, value: Value): void {
    for (const field of schemaOf(name).fields) {
      const given = value[field.name];
      if (given === undefined) continue;
      if (field.repeated) this.list(field, given as unknown[]);
      else if (field.type === "p") this.map(field, given as Record<string, string>);
      else if (field.type === "m") this.single(field, given);
      else if (field.explicit || !isDefault(given)) this.single(field, given);
    }
    if (value["$unknown"]) this.raw(value["$unknown"] as Uint8Array);
  }

  single(field: Field, value: unknown): void {
    this.varint(field.number * 8 + (WIRE[field.type] ?? 2));
    if (field.type === "m") this.delimited(() => this.message(field.message as keyof Messages, value as Value));
    else this.scalar(field.type, value);
  }

  list(field: Field, values: unknown[]): void {
    if (field.type in WIRE && values.length > 0) {
      this.varint(field.number * 8 + 2);
      this.delimited(() => values.forEach((value) => this.scalar(field.type, value)));
    } else {
      values.forEach((value) => this.single(field, value));
    }
  }

  map(field: Field, entries: Record<string, string>): void {
    for (const key of Object.keys(entries).sort()) {
      this.varint(field.number * 8 + 2);
      this.delimited(() => {
        [key, entries[key] as string].forEach((text, index) => {
          if (text === "") return;
          this.varint(index * 8 + 10);
          this.string(text);
        });
      });
    }
  }
}

function isDefault(value: unknown): boolean {
  return value instanceof Uint8Array ? value.length === 0 : !value;
}

/** Returns a message's bytes, fields in the order of their numbers. */
export function encode<K extends keyof Messages>(name: K, value: Init<Messages[K]>): Uint8Array {
  const writer = new Writer();
  writer.message(name, value as Value);
  return writer.bytes.slice(0, writer.length);
}

/** Returns a frame preceded by its length, as it is sent. */
export function encodeFrame(frame: Init<Messages["Frame"]>): Uint8Array {
  const writer = new Writer();
  writer.delimited(() => writer.message("Frame", frame as Value));
  return writer.bytes.slice(0, writer.length);
}

class Reader {
  #view: DataView | undefined;

  constructor(readonly bytes: Uint8Array, public at: number, readonly end: number) {}

  fail(what: string): never {
    throw new DecodeError(`${what} at byte ${this.at}`);
  }

  byte(): number {
    if (this.at >= this.end) this.fail("the bytes end too early");
    return this.bytes[this.at++] as number;
  }

  varint(): number | bigint {
    let byte = this.byte();
    if (byte < 128) return byte;
    const start = this.at - 1;
    let value = byte & 127;
    let factor = 128;
    while (this.at - start < 7) {
      byte = this.byte();
      value += (byte & 127) * factor;
      if (byte < 128) return value;
      factor *= 128;
    }
    let big = BigInt(value);
    for (let shift = 49n; shift < 70n; shift += 7n) {
      byte = this.byte();
      big |= BigInt(byte & 127) << shift;
      if (byte < 128) return BigInt.asUintN(64, big);
    }
    return this.fail("a number has too many bytes");
  }

  number(): number {
    const value = this.varint();
    return typeof value === "number" ? value : Number(value);
  }

  take(length: number): number {
    const start = this.at;
    if (length > this.end - start) this.fail("the bytes end too early");
    this.at += length;
    return start;
  }

  view(): Reader {
    const length = this.number();
    const start = this.take(length);
    return new Reader(this.bytes, start, start + length);
  }

  string(): string {
    const { at, end } = this.view();
    if (end - at < SHORT) {
      let ascii = "";
      for (let index = at; index < end; index++) {
        const byte = this.bytes[index] as number;
        if (byte > 127) break;
        ascii += String.fromCharCode(byte);
      }
      if (ascii.length === end - at) return ascii;
    }
    try {
      return textDecoder.decode(this.bytes.subarray(at, end));
    } catch {
      return this.fail("a text is not UTF-8");
    }
  }

  scalar(type: string): unknown {
    switch (type) {
      case "s":
        return this.string();
      case "b": {
        const { at, end } = this.view();
        return this.bytes.slice(at, end);
      }
      case "f": {
        this.#view ??= new DataView(this.bytes.buffer, this.bytes.byteOffset);
        return this.#view.getBigUint64(this.take(8), true);
      }
      default:
        return convert(type, this.varint());
    }
  }

  skip(wire: number, number: number, depth: number): void {
    if (depth > MAX_DEPTH) this.fail("messages are nested too deeply");
    if (wire === 0) this.varint();
    else if (wire === 1) this.take(8);
    else if (wire === 2) this.take(this.number());
    else if (wire === 5) this.take(4);
    else if (wire === 3) {
      for (;;) {
        const tag = this.number();
        if (tag % 8 === 4) {
          if (Math.floor(tag / 8) !== number) this.fail("a group ends that did not begin");
          return;
        }
        this.skip(tag % 8, Math.floor(tag / 8), depth + 1);
      }
    } else this.fail("a field has no known wire type");
  }

  /** Reads to the end, into `value`; repeated fields are merged. */
  message(schema: Schema, value: Value, depth: number): Value {
    if (depth > MAX_DEPTH) this.fail("messages are nested too deeply");
    while (this.at < this.end) {
      const start = this.at;
      const tag = this.number();
      const number = Math.floor(tag / 8);
      if (number === 0 || tag > 0xffffffff) this.fail("a field has no number");
      const field = schema.byNumber.get(number);
      if (field) {
        this.field(field, tag % 8, value, depth);
      } else {
        this.skip(tag % 8, number, 0);
        const before = (value["$unknown"] as Uint8Array | undefined) ?? NONE;
        const joined = new Uint8Array(before.length + this.at - start);
        joined.set(before);
        joined.set(this.bytes.subarray(start, this.at), before.length);
        value["$unknown"] = joined;
      }
    }
    return value;
  }

  field(field: Field, wire: number, value: Value, depth: number): void {
    const expected = WIRE[field.type] ?? 2;
    if (field.repeated && wire === 2 && expected !== 2) {
      const list = value[field.name] as unknown[];
      const packed = this.view();
      while (packed.at < packed.end) list.push(packed.scalar(field.type));
      return;
    }
    if (wire !== expected) this.fail(`${field.name} has another type`);
    if (field.type === "p") {
      const entry = this.view();
      const texts = ["", "", ""];
      while (entry.at < entry.end) {
        const tag = entry.number();
        if (tag === 10 || tag === 18) texts[(tag - 2) / 8] = entry.string();
        else entry.skip(tag % 8, Math.floor(tag / 8), 0);
      }
      Object.defineProperty(value[field.name], texts[1] as string, { value: texts[2], enumerable: true, configurable: true, writable: true });
      return;
    }
    for (const rival of field.rivals) delete value[rival];
    if (field.type !== "m") {
      const read = this.scalar(field.type);
      if (field.repeated) (value[field.name] as unknown[]).push(read);
      else value[field.name] = read;
      return;
    }
    const schema = schemaOf(field.message as keyof Messages);
    const inner = this.view();
    if (field.repeated) (value[field.name] as unknown[]).push(inner.message(schema, empty(schema), depth + 1));
    else value[field.name] = inner.message(schema, (value[field.name] as Value | undefined) ?? empty(schema), depth + 1);
  }
}

function convert(type: string, value: number | bigint): unknown {
  if (typeof value === "number" && value < 0x80000000) {
    return type === "o" ? value !== 0 : type === "g" ? BigInt(value) : type === "z" ? (value >>> 1) ^ -(value & 1) : value;
  }
  const big = BigInt(value);
  switch (type) {
    case "o":
      return true;
    case "u":
      return Number(BigInt.asUintN(32, big));
    case "i":
      return Number(BigInt.asIntN(32, big));
    case "z": {
      const bits = Number(BigInt.asUintN(32, big));
      return (bits >>> 1) ^ -(bits & 1);
    }
    case "l":
      return Number(BigInt.asIntN(64, big));
    case "g":
      return big;
    default:
      // Positions and counts are limited to 2^53 - 1.
      return Math.min(Number(big), Number.MAX_SAFE_INTEGER);
  }
}

/**
 * Reads a message.
 *
 * @throws {@link DecodeError} if the bytes are not such a message.
 */
export function decode<K extends keyof Messages>(name: K, bytes: Uint8Array): Messages[K] {
  const schema = schemaOf(name);
  return new Reader(bytes, 0, bytes.length).message(schema, empty(schema), 0) as unknown as Messages[K];
}

/** Thrown for a frame that is longer than the limit. */
export class FrameTooLargeError extends Error {
  override readonly name = "FrameTooLargeError";
}

/**
 * Reads the frames of one WebSocket message.
 *
 * @throws {@link DecodeError} if the bytes are not frames, {@link FrameTooLargeError} if a frame exceeds the limit.
 */
export function* decodeFrames(bytes: Uint8Array, maxFrameBytes: number): Generator<Messages["Frame"]> {
  let at = 0;
  while (at < bytes.length) {
    let length = 0;
    let factor = 1;
    for (let index = 0; ; index++) {
      const byte = bytes[at++];
      if (byte === undefined) throw new DecodeError("a message ends within the length of a frame");
      if (index === 4 && byte > 127) throw new DecodeError("the length of a frame has more than five bytes");
      length += (byte & 127) * factor;
      if (byte < 128) break;
      factor *= 128;
    }
    if (length > maxFrameBytes) {
      throw new FrameTooLargeError(`a frame of ${length} bytes came, and the limit is ${maxFrameBytes}`);
    }
    if (length > bytes.length - at) throw new DecodeError("a message ends within a frame");
    if (length > 0) yield decode("Frame", bytes.subarray(at, at + length));
    at += length;
  }
}
