export type Anchor = Element | { readonly x: number; readonly y: number };

const MARGIN = 8;
const GAP = 6;

/** Places a layer beside its anchor, where there is room for it. */
export function placeBeside(layer: HTMLElement, anchor: Anchor, { side, align }: { readonly side: "below" | "above"; readonly align: "start" | "end" }): void {
  const box = anchor instanceof Element ? anchor.getBoundingClientRect() : new DOMRect(anchor.x, anchor.y, 0, 0);
  const { clientWidth: width, clientHeight: height } = document.documentElement;
  const { offsetWidth, scrollHeight } = layer;
  const below = height - box.bottom - GAP - MARGIN;
  const above = box.top - GAP - MARGIN;
  const isBelow = side === "below" ? below >= scrollHeight || below >= above : !(above >= scrollHeight || above >= below);
  const room = Math.max(isBelow ? below : above, 120);
  const tall = Math.min(scrollHeight + 2, room);
  const left = align === "start" ? box.left : box.right - offsetWidth;
  const top = isBelow ? box.bottom + GAP : box.top - GAP - tall;
  layer.style.left = `${Math.round(Math.max(MARGIN, Math.min(left, width - offsetWidth - MARGIN)))}px`;
  layer.style.top = `${Math.round(Math.max(MARGIN, Math.min(top, height - tall - MARGIN)))}px`;
  layer.style.maxHeight = `${Math.round(room)}px`;
}
