import assert from "node:assert/strict";

/** Something that an application was told of a log. */
export type Entry =
  | { readonly type: "message"; readonly log: string; readonly seq: number; readonly text: string; readonly localId?: number | undefined }
  | { readonly type: "reset"; readonly log: string; readonly seq: number; readonly reason: string };

/** What one sender sent to one conversation, in its order. Texts are `name` and a number: `a0`, `a1`, and so on. */
export interface Stream {
  readonly name: string;
  /** So many were sent at most. */
  readonly sent: number;
  /** Of so many `send` resolved, the first ones; by default of all. */
  readonly taken?: number;
}

/** Fails where a message of a stream was lost, came twice, or came out of order. */
export function assertStreams(who: string, texts: readonly string[], streams: readonly Stream[]): void {
  for (const { name, sent, taken = sent } of streams) {
    const numbers = texts.filter((text) => text.startsWith(name) && /^\d+$/.test(text.slice(name.length))).map((text) => Number(text.slice(name.length)));
    for (const [index, number] of numbers.entries()) {
      assert.ok(index === 0 || number > (numbers[index - 1] as number), `${who}: ${name}${number} came after ${name}${numbers[index - 1]}: ${numbers.join(" ")}`);
      assert.ok(number < sent, `${who}: ${name}${number} was never sent`);
    }
    const lost = Array.from({ length: taken }, (_, number) => number).filter((number) => !numbers.includes(number));
    assert.deepEqual(lost, [], `${who}: of ${name} these were lost`);
  }
}

/** Fails where a log did not come in order and once, or where it went on elsewhere without a reset. */
export function assertLogs(who: string, entries: readonly Entry[]): void {
  const at = new Map<string, number>();
  for (const entry of entries) {
    const before = at.get(entry.log);
    if (entry.type === "message" && entry.seq !== (before ?? 0) + 1) assert.fail(`${who}: ${entry.log || "the inbox"} stood at ${before ?? 0}, and then came ${entry.seq} (${entry.text})`);
    at.set(entry.log, entry.seq);
  }
}
