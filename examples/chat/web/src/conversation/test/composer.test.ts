import assert from "node:assert/strict";
import { test } from "node:test";
import { complete, rank, tokenAt } from "../composer/completion";
import { Drafts, shareable } from "../composer/drafts";
import { Composition, sends, type KeyPress } from "../composer/keys";

const press = (given: Partial<KeyPress> = {}): KeyPress => ({ key: "Enter", keyCode: 13, isComposing: false, shiftKey: false, ctrlKey: false, metaKey: false, altKey: false, ...given });

test("Enter of an input method never sends, whatever the engine calls it", () => {
  const composition = new Composition();
  assert.ok(!composition.takes(press(), 0));
  assert.ok(composition.takes(press({ isComposing: true }), 0), "Chromium and Firefox");
  assert.ok(composition.takes(press({ keyCode: 229 }), 0), "Safari, and Chromium on Android");
  composition.begin();
  assert.ok(composition.takes(press(), 5));
  composition.end(1000);
  assert.ok(composition.takes(press(), 1029), "Safari ends the composition first");
  assert.ok(!composition.takes(press(), 1030));
});

test("Enter sends, or Ctrl and Enter, as the user has it; Shift and Enter is a new line", () => {
  assert.deepEqual([true, false].map((setting) => sends(press(), setting)), [true, false]);
  for (const setting of [true, false]) {
    assert.ok(sends(press({ ctrlKey: true }), setting) && sends(press({ metaKey: true }), setting));
    assert.ok(!sends(press({ shiftKey: true }), setting) && !sends(press({ key: "a" }), setting));
  }
});

test("names and emoji are completed where a word begins", () => {
  assert.deepEqual(tokenAt("hi @al", 6), { kind: "mention", query: "al", start: 3, end: 6 });
  assert.equal(tokenAt("你好@王", 4)?.query, "王");
  assert.equal(tokenAt("ann@example", 11), undefined);
  assert.equal(tokenAt(":th", 3)?.kind, "emoji");
  assert.equal(tokenAt("at 12:30", 8), undefined);
  assert.equal(tokenAt(":D", 2), undefined);
  assert.deepEqual(complete("hi @al!", { kind: "mention", query: "al", start: 3, end: 6 }, "@Alice"), { text: "hi @Alice !", caret: 10 });
  assert.ok(rank("mi", "Miller") > rank("mi", "Bob Miller") && rank("mi", "Bob Miller") > rank("mi", "jamie"));
  assert.equal(rank("x", "Bob"), 0);
});

test("a draft survives, and yields to what another device wrote later", () => {
  const kept = new Map<string, string>();
  const storage = { getItem: (key: string) => kept.get(key) ?? null, setItem: (key: string, value: string) => void kept.set(key, value), removeItem: (key: string) => void kept.delete(key) };
  const drafts = new Drafts("me", storage);
  assert.equal(drafts.text("@bob", "from the phone"), "from the phone");
  drafts.keep("@bob", "typed here", "old");
  assert.equal(drafts.text("@bob", "old"), "typed here", "the others do not know it yet");
  assert.equal(drafts.tell("@bob", "old"), "typed here");
  assert.equal(drafts.tell("@bob", "old"), undefined);
  assert.equal(drafts.text("@bob", undefined), "typed here", "the list of conversations is not loaded yet");
  assert.equal(drafts.text("@bob", "old"), "typed here", "the account has not heard of it yet");
  assert.equal(drafts.text("@bob", "typed here"), "typed here");
  assert.equal(drafts.text("@bob", "from the phone"), "from the phone");
  drafts.keep("@bob", "", "from the phone");
  assert.equal(drafts.tell("@bob", "from the phone"), "");
  drafts.keep("@bob", "字".repeat(20_000), "");
  assert.equal(drafts.text("@bob", ""), "字".repeat(20_000));
  assert.ok(new TextEncoder().encode(shareable("字".repeat(20_000))).length <= 1000);
  drafts.keep("@ann", "", "from the phone");
  assert.equal(drafts.tell("@ann", "from the phone"), "", "what another device began was sent here");
});
