import { useCallback, useEffect, useImperativeHandle, useLayoutEffect, useReducer, useRef, type ReactNode, type Ref } from "react";
import { flushSync } from "react-dom";
import { offsetsOf, piecesOf, rangeOf, rowAt, sticks, type Anchor } from "./layout";
import styles from "./VirtualList.module.css";

/** What a list can be told. */
export interface ListHandle {
  /** Moves a row to a place in the view; 0 is its top, 1 its bottom. */
  scrollTo(key: string, at?: number): void;
  scrollToEnd(): void;
  /** Where the reader is; `undefined` at the end. */
  place(): Anchor | undefined;
  /** Keys of the rows of which a part is in view, in order. */
  visible(): string[];
}

interface Props<T extends { readonly key: string }> {
  readonly rows: readonly T[];
  readonly estimate: (row: T) => number;
  readonly render: (row: T, index: number) => ReactNode;
  readonly label: string;
  /** Whether the list's end is the newest row, to which it may stick. */
  readonly isWhole: boolean;
  /** Where the reader was; at the end by default. */
  readonly start?: Anchor | undefined;
  /** Rows that stay mounted. */
  readonly kept: ReadonlySet<string>;
  readonly ref?: Ref<ListHandle>;
  readonly onScroll: (isAtEnd: boolean) => void;
  readonly onNear: (side: "older" | "newer") => void;
}

const BEYOND = 800;
const NEAR = 1500;
/** Heights of rows that are no longer in the list are forgotten beyond it. */
const MOST_HEIGHTS = 4000;

interface State {
  anchor: Anchor | undefined;
  isStuck: boolean;
  top: number;
  /** The top that this list has set itself; its scroll event says nothing about the reader. */
  set: number;
  width: number;
  offsets: number[];
  keys: readonly string[];
  range: readonly [number, number];
}

/**
 * A list of measured rows of which only those near the view are mounted. One row in view is its anchor: it does not move when
 * rows above it come, go, grow or shrink. At the end it sticks there.
 */
export function VirtualList<T extends { readonly key: string }>({ rows, estimate, render, label, isWhole, start, kept, ref, onScroll, onNear }: Props<T>): ReactNode {
  const scroller = useRef<HTMLDivElement>(null);
  const elements = useRef(new Map<string, HTMLElement>());
  const heights = useRef(new Map<string, number>());
  const isKnown = start !== undefined && rows.some(({ key }) => key === start.key);
  const state = useRef<State>({ anchor: isKnown ? start : undefined, isStuck: !isKnown, top: 0, set: -1, width: 0, offsets: [0], keys: [], range: [0, 0] });
  const [, redraw] = useReducer((count: number) => count + 1, 0);
  const now = state.current;

  const indexes = new Map(rows.map(({ key }, index) => [key, index]));
  const height = (row: T): number => heights.current.get(row.key) ?? estimate(row);
  const offsets = offsetsOf(rows.length, (index) => height(rows[index] as T));
  const view = scroller.current?.clientHeight ?? window.innerHeight;
  const total = offsets[rows.length] ?? 0;
  const anchored = now.anchor && indexes.get(now.anchor.key);
  const top = now.isStuck ? total - view : anchored === undefined ? now.top : (offsets[anchored] ?? 0) - (now.anchor?.distance ?? 0);
  now.offsets = offsets;
  now.keys = rows.map(({ key }) => key);
  now.range = rangeOf(offsets, Math.min(top, Math.max(0, total - view)), view, BEYOND);
  const focused = [...elements.current].find(([, element]) => element.contains(document.activeElement))?.[0];
  const held = [...kept, ...(focused ? [focused] : [])].map((key) => indexes.get(key) ?? -1);
  const pieces = piecesOf(offsets, now.range, held);

  /** Measures mounted rows, and returns whether a height was not as thought. */
  const measure = useCallback((): boolean => {
    let isChanged = false;
    for (const [key, element] of elements.current) {
      const measured = element.getBoundingClientRect().height;
      if (measured === heights.current.get(key)) continue;
      heights.current.set(key, measured);
      isChanged = true;
    }
    return isChanged;
  }, []);

  /** Puts the anchor, or the end, where it belongs. */
  const whole = useRef(isWhole);
  const settle = useCallback((): void => {
    const element = scroller.current;
    if (!element) return;
    const { anchor, isStuck } = state.current;
    if (isStuck) element.scrollTop = element.scrollHeight;
    else {
      const row = anchor && elements.current.get(anchor.key);
      const moved = row && anchor ? row.getBoundingClientRect().top - element.getBoundingClientRect().top - anchor.distance : 0;
      if (Math.abs(moved) >= 0.5) element.scrollTop += moved;
      state.current.isStuck = whole.current && element.scrollHeight - element.scrollTop - element.clientHeight < 1;
    }
    state.current.top = state.current.set = element.scrollTop;
  }, []);

  const chooseAnchor = useCallback((): Anchor | undefined => {
    const element = scroller.current;
    if (!element) return undefined;
    const frame = element.getBoundingClientRect();
    const at = [...elements.current].map(([key, row]) => ({ key, box: row.getBoundingClientRect(), row })).filter(({ box }) => box.bottom > frame.top && box.top < frame.bottom);
    const touched = at.find(({ row }) => row.matches(":hover") || row.contains(document.activeElement));
    const middle = frame.top + frame.height / 2;
    const chosen = touched ?? at.find(({ box }) => box.top <= middle && box.bottom > middle) ?? at[0];
    if (chosen) return { key: chosen.key, distance: chosen.box.top - frame.top };
    // A long jump ends where nothing is mounted yet.
    const { offsets, keys } = state.current;
    const index = rowAt(offsets, element.scrollTop + frame.height / 2);
    const key = keys[index];
    return key === undefined ? undefined : { key, distance: (offsets[index] ?? 0) - element.scrollTop };
  }, []);

  useLayoutEffect(() => {
    whole.current = isWhole;
    // Newer pages are to come below what is read now.
    if (!isWhole && state.current.isStuck) {
      state.current.anchor = chooseAnchor() ?? state.current.anchor;
      state.current.isStuck = false;
    }
    if (heights.current.size > MOST_HEIGHTS) for (const key of heights.current.keys()) if (!indexes.has(key)) heights.current.delete(key);
    const isChanged = measure();
    settle();
    if (isChanged) redraw();
  });

  const scrolled = (): void => {
    const element = scroller.current;
    if (!element) return;
    const current = state.current;
    const { scrollTop, clientHeight, scrollHeight } = element;
    if (Math.abs(scrollTop - current.set) < 1 && scrollTop === current.top) return;
    current.isStuck = isWhole && sticks(current.isStuck, current.top, scrollTop, scrollHeight - scrollTop - clientHeight);
    current.top = scrollTop;
    if (!current.isStuck) current.anchor = chooseAnchor() ?? current.anchor;
    const [from, to] = rangeOf(current.offsets, scrollTop, clientHeight, BEYOND / 2);
    if (from < current.range[0] || to > current.range[1]) flushSync(redraw);
    announce();
  };

  const announce = (): void => {
    const element = scroller.current;
    if (!element) return;
    // Rows that come by scrolling back are not news.
    element.firstElementChild?.setAttribute("aria-busy", String(!state.current.isStuck));
    onScroll(state.current.isStuck);
    if (element.scrollTop < NEAR) onNear("older");
    if (element.scrollHeight - element.scrollTop - element.clientHeight < NEAR) onNear("newer");
  };
  const latest = useRef(announce);
  useLayoutEffect(() => {
    latest.current = announce;
  });

  // Rows change their heights by themselves: images, opened texts, fonts; and the view does when the composer grows.
  const observer = useRef<ResizeObserver>(undefined);
  useEffect(() => {
    const watch = (observer.current = new ResizeObserver(() => {
      const width = scroller.current?.clientWidth ?? 0;
      // Heights of rows that are not mounted are of another width.
      if (width !== state.current.width && state.current.width > 0) for (const key of heights.current.keys()) if (!elements.current.has(key)) heights.current.delete(key);
      state.current.width = width;
      if (measure()) flushSync(redraw);
      settle();
    }));
    for (const element of elements.current.values()) watch.observe(element);
    if (scroller.current) watch.observe(scroller.current);
    return () => watch.disconnect();
  }, [measure, settle]);

  // The first pages may be shorter than the view, and a jump may end near an end.
  useEffect(() => latest.current());

  const attach = useCallback((key: string, element: HTMLElement | null): void => {
    const before = elements.current.get(key);
    if (before && before !== element) observer.current?.unobserve(before);
    if (!element) return void elements.current.delete(key);
    elements.current.set(key, element);
    observer.current?.observe(element);
  }, []);

  useImperativeHandle(ref, () => ({
    scrollTo(key, at = 0.3) {
      const view = scroller.current?.clientHeight ?? 0;
      state.current.isStuck = false;
      state.current.anchor = { key, distance: Math.round(view * at) };
      redraw();
    },
    scrollToEnd() {
      state.current.isStuck = true;
      redraw();
    },
    place: () => (state.current.isStuck ? undefined : state.current.anchor),
    visible: () => {
      const frame = scroller.current?.getBoundingClientRect();
      if (!frame) return [];
      return [...elements.current].flatMap(([key, row]) => {
        const box = row.getBoundingClientRect();
        // A row counts when its end is in view, or when it fills the view.
        return box.bottom <= frame.bottom + 1 && box.bottom > frame.top ? [key] : box.top < frame.top && box.bottom > frame.bottom ? [key] : [];
      });
    },
  }), [chooseAnchor]);

  return (
    <div ref={scroller} className={styles.scroller} onScroll={scrolled} data-list="messages">
      <div className={styles.content} role="log" aria-label={label} aria-live="polite" aria-relevant="additions">
        {pieces.map((piece) => {
          if (piece.kind === "room") return <div key={piece.key} style={{ height: piece.height }} aria-hidden="true" />;
          const row = rows[piece.index] as T;
          return <Row key={`row-${row.key}`} name={row.key} attach={attach}>{render(row, piece.index)}</Row>;
        })}
      </div>
    </div>
  );
}

function Row({ name, attach, children }: { readonly name: string; readonly attach: (key: string, element: HTMLElement | null) => void; readonly children: ReactNode }): ReactNode {
  const ref = useCallback((element: HTMLElement | null) => attach(name, element), [name, attach]);
  return (
    <div ref={ref} className={styles.row} data-row={name}>
      {children}
    </div>
  );
}
