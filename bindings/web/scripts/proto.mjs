// Reads the subset of the protobuf language that proto/im/v1 uses. Shared by the generator and by the tests.

/** @returns {{messages: Map<string, object[]>, enums: Map<string, [string, number][]>}} */
export function parse(source) {
  const messages = new Map();
  const enums = new Map();
  const docs = [];
  let open = null;
  let oneof = null;
  for (const raw of source.split("\n")) {
    const comment = raw.match(/^\s*\/\/ ?(.*)$/);
    if (comment) {
      docs.push(comment[1]);
      continue;
    }
    const line = raw.replace(/\/\/.*$/, "").trim();
    const doc = docs.join("\n");
    if (line !== "") docs.length = 0;
    let match;
    if ((match = line.match(/^message (\w+) \{(\s*\})?$/))) {
      open = { kind: "message", name: match[1] };
      messages.set(match[1], Object.assign([], { doc }));
      if (match[2]) open = null;
    } else if ((match = line.match(/^enum (\w+) \{$/))) {
      open = { kind: "enum", name: match[1] };
      enums.set(match[1], Object.assign([], { doc }));
    } else if ((match = line.match(/^oneof (\w+) \{$/))) {
      oneof = match[1];
    } else if (line === "}") {
      if (oneof) oneof = null;
      else open = null;
    } else if (open?.kind === "enum" && (match = line.match(/^(\w+) = (\d+);$/))) {
      enums.get(open.name).push([match[1], Number(match[2])]);
    } else if (
      open?.kind === "message" &&
      (match = line.match(/^(?:(optional|repeated) )?(map<string, string>|\w+) (\w+) = (\d+)(?: \[[^\]]*\])?;$/))
    ) {
      const [, label, type, name, number] = match;
      messages.get(open.name).push({ name, number: Number(number), type, label, oneof, doc });
    } else if (open && line !== "" && !line.startsWith("reserved")) {
      throw new Error(`cannot read this line of ${open.name}: ${line}`);
    }
  }
  return { messages, enums };
}

export const camel = (name) => name.replace(/_(\w)/g, (_, letter) => letter.toUpperCase());
