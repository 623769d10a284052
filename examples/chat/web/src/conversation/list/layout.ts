/** A row that stays where it is while others change: the distance of its top from the top of the view. */
export interface Anchor {
  readonly key: string;
  readonly distance: number;
}

/** A piece of the list: a mounted row, or room for rows that are not. */
export type Piece = { readonly kind: "row"; readonly index: number } | { readonly kind: "room"; readonly key: string; readonly height: number };

/** Returns where each row begins, and at last where the list ends. */
export function offsetsOf(count: number, heightAt: (index: number) => number): number[] {
  const offsets = new Array<number>(count + 1);
  offsets[0] = 0;
  for (let index = 0; index < count; index++) offsets[index + 1] = (offsets[index] ?? 0) + heightAt(index);
  return offsets;
}

/** Returns the row at a height: the last one that begins at or above it. */
export function rowAt(offsets: readonly number[], y: number): number {
  let [low, high] = [0, Math.max(0, offsets.length - 2)];
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if ((offsets[middle] ?? 0) <= y) low = middle;
    else high = middle - 1;
  }
  return low;
}

/** Returns the first row that is mounted, and the one after the last. */
export function rangeOf(offsets: readonly number[], top: number, view: number, beyond: number): readonly [number, number] {
  const count = offsets.length - 1;
  if (count <= 0) return [0, 0];
  return [rowAt(offsets, top - beyond), rowAt(offsets, top + view + beyond) + 1];
}

/** Returns mounted rows with room between them. Rows to keep, such as one that plays a video, stay mounted wherever they are. */
export function piecesOf(offsets: readonly number[], [from, to]: readonly [number, number], kept: readonly number[]): Piece[] {
  const count = offsets.length - 1;
  const mounted = [...new Set([...kept, ...Array.from({ length: Math.max(0, to - from) }, (_, index) => from + index)])]
    .filter((index) => index >= 0 && index < count)
    .sort((one, other) => one - other);
  const pieces: Piece[] = [];
  let at = 0;
  const room = (until: number, key: string): void => {
    const height = (offsets[until] ?? 0) - (offsets[at] ?? 0);
    if (until > at) pieces.push({ kind: "room", key, height });
  };
  for (const index of mounted) {
    room(index, `before-${index === from ? "range" : pieces.length}`);
    pieces.push({ kind: "row", index });
    at = index + 1;
  }
  room(count, "end");
  return pieces;
}

/**
 * Returns whether the list goes on sticking to its end. It lets go only when the reader moves up: while it grows, the end may be
 * out of view for a moment.
 */
export function sticks(wasStuck: boolean, before: number, top: number, distanceToEnd: number): boolean {
  if (distanceToEnd < 1) return true;
  return wasStuck && top >= before;
}
