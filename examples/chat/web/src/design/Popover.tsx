import { useCallback, useRef, type ReactNode } from "react";
import { classes } from "./classes";
import { placeBeside, type Anchor } from "./place";
import styles from "./Popover.module.css";

export interface PopoverProps {
  /** What it belongs to: an element, or a point of the viewport. */
  readonly anchor: Anchor;
  readonly onClose: () => void;
  readonly children: ReactNode;
  readonly label?: string;
  readonly role?: "dialog" | "listbox";
  /** Preferred; the other one is taken where there is no room. */
  readonly side?: "below" | "above";
  readonly align?: "start" | "end";
  /** Unset to leave the focus where it is, as a completion does. */
  readonly takesFocus?: boolean;
  readonly className?: string | undefined;
}

/** A layer above the page. A press outside and Esc close it, and the focus goes back. Mount it to show it. */
export function Popover({ anchor, onClose, children, label, role = "dialog", side = "below", align = "start", takesFocus = true, className }: PopoverProps): ReactNode {
  const latest = useRef({ anchor, onClose, side, align });
  latest.current = { anchor, onClose, side, align };
  const show = useCallback(
    (layer: HTMLDivElement | null) => {
      if (!layer) return;
      const before = document.activeElement;
      layer.showPopover();
      const place = (): void => placeBeside(layer, latest.current.anchor, latest.current);
      place();
      const observer = new ResizeObserver(place);
      observer.observe(layer);
      window.addEventListener("resize", place);
      if (takesFocus) (layer.querySelector<HTMLElement>("[autofocus], [data-autofocus]") ?? layer).focus({ preventScroll: true });
      const press = (event: PointerEvent): void => {
        const target = event.target as Node;
        const { anchor: owner } = latest.current;
        if (!layer.contains(target) && !(owner instanceof Element && owner.contains(target))) latest.current.onClose();
      };
      document.addEventListener("pointerdown", press, true);
      return () => {
        observer.disconnect();
        window.removeEventListener("resize", place);
        document.removeEventListener("pointerdown", press, true);
        const hadFocus = layer.contains(document.activeElement);
        layer.hidePopover();
        if (hadFocus && before instanceof HTMLElement && before.isConnected) before.focus({ preventScroll: true });
      };
    },
    [takesFocus],
  );
  return (
    <div
      ref={show}
      popover="manual"
      role={label === undefined ? undefined : role}
      aria-label={label}
      tabIndex={-1}
      className={classes(styles.popover, className)}
      onKeyDown={(event) => {
        if (event.key !== "Escape") return;
        // Otherwise a dialog below would close as well.
        event.preventDefault();
        event.stopPropagation();
        onClose();
      }}
    >
      {children}
    </div>
  );
}
