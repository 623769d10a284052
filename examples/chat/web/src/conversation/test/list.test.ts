import assert from "node:assert/strict";
import { test } from "node:test";
import { offsetsOf, piecesOf, rangeOf, rowAt, sticks } from "../list/layout";

test("rows are found by height", () => {
  const offsets = offsetsOf(4, (index) => [10, 20, 30, 40][index] ?? 0);
  assert.deepEqual(offsets, [0, 10, 30, 60, 100]);
  assert.deepEqual([-5, 0, 9, 10, 59, 60, 500].map((y) => rowAt(offsets, y)), [0, 0, 0, 1, 2, 3, 3]);
  assert.deepEqual(rangeOf([0], 0, 500, 800), [0, 0]);
});

test("few rows of many are mounted, and the heights add up", () => {
  const offsets = offsetsOf(50_000, (index) => 30 + (index % 7) * 10);
  const end = offsets[50_000] ?? 0;
  for (const top of [0, 1234, end / 2, end - 900]) {
    const pieces = piecesOf(offsets, rangeOf(offsets, top, 900, 800), [7, 49_999]);
    const rows = pieces.filter(({ kind }) => kind === "row");
    assert.ok(rows.length < 200);
    const height = pieces.reduce((sum, piece) => sum + (piece.kind === "room" ? piece.height : (offsets[piece.index + 1] ?? 0) - (offsets[piece.index] ?? 0)), 0);
    assert.equal(height, end);
    assert.equal(new Set(pieces.map((piece) => (piece.kind === "room" ? piece.key : piece.index))).size, pieces.length);
  }
});

test("the list sticks to its end until the reader moves up", () => {
  assert.equal(sticks(false, 100, 100, 0.5), true);
  assert.equal(sticks(false, 100, 101, 1), false, "one pixel away is away");
  assert.equal(sticks(true, 100, 100, 300), true, "it has grown");
  assert.equal(sticks(true, 100, 99, 301), false, "the reader moved");
});
