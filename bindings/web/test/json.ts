import { readFileSync } from "node:fs";
import type { Init } from "../src/codec.js";
import { tables, type Messages } from "../src/proto.js";
import { camel, parse } from "../scripts/proto.mjs";

const root = process.env["IM_PROTO"] ?? "../../proto/im/v1/";
const { messages, enums } = parse(["message.proto", "frame.proto"].map((file) => readFileSync(root + file, "utf8")).join("\n"));

/** Reads protobuf's JSON mapping of a message. */
export function fromJson<K extends keyof Messages>(name: K, json: Record<string, unknown>): Init<Messages[K]> {
  const out: Record<string, unknown> = {};
  const codes = new Map(tables[name].split("|").map((row) => [row.split(" ")[0], row.split(" ")[2]]));
  for (const field of messages.get(name) ?? []) {
    const key = camel(field.name);
    if (!(key in json)) continue;
    const one = (value: unknown): unknown => {
      const type = field.type;
      if (enums.has(type)) return enums.get(type)?.find(([label]) => label === value)?.[1] ?? value;
      if (type === "bytes") return new Uint8Array(Buffer.from(value as string, "base64"));
      if (codes.get(key) === "f" || codes.get(key) === "g") return BigInt(value as string);
      if (/64$/.test(type)) return Number(value);
      if (messages.has(type)) return fromJson(type as keyof Messages, value as Record<string, unknown>);
      return value;
    };
    out[key] = Array.isArray(json[key]) ? json[key].map(one) : one(json[key]);
  }
  return out as Init<Messages[K]>;
}
