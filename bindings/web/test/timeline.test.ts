import assert from "node:assert/strict";
import { test } from "node:test";
import { create, type Init } from "../src/codec.js";
import type { Change, Content } from "../src/proto.js";
import { Timeline, type ShownMessage } from "../src/timeline.js";
import { seeded } from "./world.js";

interface Logged { id: bigint; from?: string; content: Content; seq: number; channel?: string }
const content = (init: Init<Content>): Content => create("Content", init);
const change = (messageId: bigint, init: Init<Change>): Content => content({ change: { messageId, ...init } });
const said = (id: bigint, text: string, from = "alice"): Logged => ({ id, from, content: content({ text: { text } }), seq: Number(id) });
const look = (message: ShownMessage): unknown => ({
  id: message.id, says: message.content?.text?.text, edited: message.isEdited, recalled: message.recalled,
  deleted: message.isDeleted, pinned: message.isPinned, reactions: message.reactions,
});

/** A log with messages and all kinds of changes, made by a seed. */
function history(random: () => number): Logged[] {
  const users = ["alice", "bob", "carol"];
  const log: Logged[] = [];
  const targets: bigint[] = [];
  for (let seq = 1; seq <= 40; seq++) {
    const id = BigInt(seq * 10 + Math.floor(random() * 30));
    const from = users[Math.floor(random() * 3)] as string;
    const target = targets[Math.floor(random() * targets.length)];
    const order = BigInt(Math.floor(random() * 3));
    const emoji = ["👍", "👍\ufe0f", "🎉"][Math.floor(random() * 3)] as string;
    const kinds: Init<Change>[] = [
      { recall: {} }, { edit: { text: { text: `edit ${seq}` } } }, { edit: { text: { text: `again ${seq}` } } }, { deleteForMe: {} },
      { reaction: { emoji } }, { reaction: { emoji, removed: true } }, { pin: {} }, { pin: { removed: true } },
    ];
    if (target === undefined || random() < 0.4) {
      if (log.some((entry) => entry.id === id)) continue;
      targets.push(id);
      log.push({ id, from, content: content({ text: { text: `said ${seq}` } }), seq });
    } else log.push({ id: id * 1000n + BigInt(seq), from, content: change(target, { order, ...kinds[Math.floor(random() * kinds.length)] }), seq });
  }
  return log;
}

test("whatever comes in whatever order and however often, the same is shown", () => {
  for (let seed = 1; seed <= 300; seed++) {
    const random = seeded(seed);
    const log = history(random);
    const straight = new Timeline("alice");
    for (const entry of log) straight.apply(entry);
    const mixed = [...log, ...log.filter(() => random() < 0.5)].map((entry) => ({ entry, at: random() })).sort((one, other) => one.at - other.at);
    const other = new Timeline("alice");
    for (const { entry } of mixed) {
      const id = entry.content.change?.messageId ?? entry.id;
      const before = other.get(id) && look(other.get(id) as ShownMessage);
      const told = other.apply(entry);
      const after = other.get(id) && look(other.get(id) as ShownMessage);
      if (told === undefined) assert.deepEqual(after, before, `seed ${seed}: a change that is not told`);
    }
    assert.deepEqual(other.messages().map(look), straight.messages().map(look), `seed ${seed}`);
    assert.equal(other.waiting, 0);
  }
});

test("the last edit counts by its order, then by its id; a recall counts for good", () => {
  const timeline = new Timeline("bob");
  timeline.apply({ ...said(50n, ""), content: change(3n, { edit: { text: { text: "later" } }, order: 2n }) });
  timeline.apply({ ...said(60n, ""), content: change(3n, { edit: { text: { text: "late clock" } }, order: 1n }) });
  assert.equal(timeline.waiting, 1);
  assert.equal(timeline.apply(said(3n, "first")), 3n);
  assert.equal(timeline.get(3n)?.content?.text?.text, "later");
  timeline.apply({ ...said(80n, "", "carol"), content: change(3n, { recall: {} }) });
  timeline.apply({ ...said(70n, "", "alice"), content: change(3n, { recall: {} }) });
  assert.deepEqual(timeline.get(3n)?.recalled, { change: 70n, by: "alice" });
  assert.equal(timeline.get(3n)?.content, undefined);
});

test("what was carried out where the message is kept counts as the change itself", () => {
  const [early, late] = [new Timeline("bob"), new Timeline("bob")];
  const amended = content({ text: { text: "new" }, amended: { change: 9n, order: 4n } });
  early.apply({ ...said(3n, ""), content: amended });
  late.apply(said(3n, "old"));
  late.apply({ ...said(9n, ""), content: change(3n, { edit: { text: { text: "new" } }, order: 4n }) });
  assert.deepEqual(early.messages().map(look), late.messages().map(look));
  early.apply({ ...said(4n, ""), content: content({ amended: { change: 12n, recalled: true, by: "alice" } }) });
  assert.deepEqual(early.get(4n)?.recalled, { change: 12n, by: "alice" });
});

test("a deletion is for its user alone", () => {
  const timeline = new Timeline("alice");
  timeline.apply(said(1n, "hi", "bob"));
  assert.equal(timeline.apply({ ...said(2n, "", "bob"), content: change(1n, { deleteForMe: {} }) }), undefined);
  assert.equal(timeline.apply({ ...said(3n, "", "alice"), content: change(1n, { deleteForMe: {} }) }), 1n);
  assert.ok(timeline.get(1n)?.isDeleted);
});

test("a quote of a recalled message shows no excerpt, whichever came first", () => {
  const quoting = { ...said(5n, ""), content: content({ text: { text: "answer" }, quote: { messageId: 1n, excerpt: "secret", kind: "text" } }) };
  const recall = { ...said(6n, ""), content: change(1n, { recall: {} }) };
  for (const order of [[said(1n, "secret"), quoting, recall], [recall, quoting], [quoting, recall]]) {
    const timeline = new Timeline("alice");
    for (const entry of order) timeline.apply(entry);
    assert.deepEqual([timeline.get(5n)?.content?.quote?.excerpt, timeline.get(5n)?.content?.quote?.recalled], ["", true]);
  }
});

test("messages are in the order of their log, whatever the clocks say", () => {
  const timeline = new Timeline("alice");
  for (const [id, seq] of [[30n, 1], [10n, 2], [20n, 3], [40n, 4]] as const) timeline.apply({ ...said(id, `${seq}`), seq });
  timeline.apply({ ...said(35n, "live"), seq: 0 });
  assert.deepEqual(timeline.messages().map(({ id }) => id), [30n, 10n, 20n, 35n, 40n]);
  assert.ok(timeline.isRead(30n, 10n) && !timeline.isRead(20n, 10n));
});

test("changes that wait are bounded: the oldest message is given up, with all before it", () => {
  const timeline = new Timeline("alice", 2);
  timeline.apply(said(1n, "before"));
  timeline.apply(said(3n, "after"));
  for (const [id, target] of [[10n, 2n], [11n, 4n], [12n, 4n]] as const) {
    timeline.apply({ ...said(id, ""), content: change(target, { reaction: { emoji: `${id}` } }) });
  }
  assert.deepEqual([timeline.horizon, timeline.waiting], [2n, 2]);
  assert.deepEqual(timeline.messages().map(({ id }) => id), [3n]);
  assert.equal(timeline.apply(said(2n, "late")), undefined);
  assert.equal(timeline.apply(said(4n, "late")), 4n);
});

test("of a user's many reactions the newest 20 are shown, in whatever order they came", () => {
  const reactions = Array.from({ length: 60 }, (_, index) => ({ ...said(BigInt(index + 2), "", "bob"), content: change(1n, { reaction: { emoji: `e${index}` } }) }));
  for (const order of [reactions, [...reactions].reverse()]) {
    const timeline = new Timeline("alice");
    for (const reaction of order) timeline.apply(reaction);
    timeline.apply(said(1n, "hi"));
    assert.deepEqual(timeline.get(1n)?.reactions.map(({ emoji }) => emoji), reactions.slice(40).map((_, index) => `e${index + 40}`));
  }
});
