// Writes src/proto.ts, the types and the field tables of the protocol, from proto/im/v1.
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { camel, parse } from "./proto.mjs";

const root = new URL("../../../proto/im/v1/", import.meta.url);
const source = ["message.proto", "frame.proto"].map((file) => readFileSync(new URL(file, root), "utf8")).join("\n");
const { messages, enums } = parse(source);

/** Unsigned numbers that use all 64 bits. Every other `uint64` is a place, a count or a time below 2^53. */
const BIG = new Set(["Ping.echo", "Pong.echo", "Change.order", "Amended.order", "Quote.order"]);
const CODES = { string: "s", bytes: "b", bool: "o", uint32: "u", int32: "i", sint32: "z", uint64: "n", int64: "l", fixed64: "f" };
const TYPES = { s: "string", b: "Uint8Array", o: "boolean", u: "number", i: "number", z: "number", n: "number", l: "number", f: "bigint", g: "bigint" };

const pascal = (name) => name.toLowerCase().replace(/(^|_)(\w)/g, (_, __, letter) => letter.toUpperCase());
const comment = (doc, indent) =>
  doc ? `${indent}/**\n${doc.split("\n").map((line) => `${indent} * ${line.replaceAll("*/", "* /")}`.trimEnd()).join("\n")}\n${indent} */\n` : "";

let out = "// Made by scripts/generate.mjs from proto/im/v1. Do not edit.\n\n";
for (const [name, values] of enums) {
  const prefix = name.replace(/([a-z])([A-Z])/g, "$1_$2").toUpperCase() + "_";
  const members = values.map(([value, number]) => `  ${pascal(value.slice(prefix.length))}: ${number},\n`).join("");
  out += `${comment(values.doc, "")}export const ${name} = {\n${members}} as const;\n\n`;
  out += `/** A value of {@link ${name}}, or a number that a newer version knows. */\nexport type ${name} = number;\n\n`;
}
const tables = [];
for (const [name, fields] of messages) {
  let body = "";
  const table = [];
  for (const field of [...fields].sort((one, other) => one.number - other.number)) {
    let code = CODES[field.type] ?? (enums.has(field.type) ? "i" : field.type.startsWith("map") ? "p" : `m${field.type}`);
    if (BIG.has(`${name}.${field.name}`)) code = "g";
    let type = enums.has(field.type) ? field.type : (TYPES[code] ?? (code === "p" ? "Record<string, string>" : field.type));
    if (field.label === "repeated") type = `${type}[]`;
    const optional = field.label === "optional" || field.oneof || (code[0] === "m" && field.label !== "repeated");
    body += `${comment(field.doc, "  ")}  ${camel(field.name)}${optional ? "?" : ""}: ${type}${optional ? " | undefined" : ""};\n`;
    const flag = field.oneof ? `^${field.oneof}` : field.label === "repeated" ? "*" : field.label === "optional" ? "?" : "";
    table.push(`${camel(field.name)} ${field.number} ${code}${flag ? ` ${flag}` : ""}`);
  }
  body += "  /** Fields that this version does not know, as they came. */\n  $unknown?: Uint8Array | undefined;\n";
  out += `${comment(fields.doc, "")}export interface ${name} {\n${body}}\n\n`;
  tables.push(`  ${name}: ${JSON.stringify(table.join("|"))},\n`);
}
out += `/** Every message's fields: name, number, type, label. Read by the codec. */\nexport const tables = {\n${tables.join("")}};\n\n`;
out += "/** The messages of the protocol by name. */\nexport interface Messages {\n";
for (const name of messages.keys()) out += `  ${name}: ${name};\n`;
out += "}\n";
mkdirSync(new URL("../src/", import.meta.url), { recursive: true });
writeFileSync(new URL("../src/proto.ts", import.meta.url), out);
