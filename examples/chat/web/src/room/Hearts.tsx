import { useImperativeHandle, useRef, type ReactNode, type Ref } from "react";
import styles from "./Hearts.module.css";

export interface HeartsHandle {
  /** Shows likes that came from the room. */
  rise(count: number): void;
  /** Shows an own like at once. It is left out when it comes from the room. */
  riseOwn(): void;
}

/** However many like it, so many hearts are in the air. */
const MOST = 24;
const MOST_AT_ONCE = 6;
const COLOURS = ["#e5484d", "#e54666", "#d6409f", "#f76b15", "#8e4ec6"];

/** Hearts that rise from the button. They are decoration, and left out where motion is not wanted. */
export function Hearts({ ref }: { readonly ref: Ref<HeartsHandle> }): ReactNode {
  const layer = useRef<HTMLDivElement>(null);
  const own = useRef(0);
  useImperativeHandle(ref, () => {
    const show = (count: number): void => {
      if (!layer.current || document.hidden || matchMedia("(prefers-reduced-motion: reduce)").matches) return;
      for (let index = 0; index < Math.min(count, MOST_AT_ONCE); index++) if (layer.current.childElementCount < MOST) layer.current.append(heart(index));
    };
    return {
      rise: (count) => {
        const counted = Math.min(count, own.current);
        own.current -= counted;
        show(count - counted);
      },
      riseOwn: () => {
        own.current++;
        show(1);
      },
    };
  }, []);
  return <div ref={layer} className={styles.layer} aria-hidden />;
}

function heart(index: number): HTMLElement {
  const span = document.createElement("span");
  span.textContent = "♥";
  span.style.setProperty("--drift", `${Math.round((Math.random() - 0.5) * 90)}px`);
  span.style.setProperty("--turn", `${Math.round((Math.random() - 0.5) * 50)}deg`);
  span.style.color = COLOURS[Math.floor(Math.random() * COLOURS.length)] ?? "";
  span.style.fontSize = `${18 + Math.round(Math.random() * 14)}px`;
  span.style.animationDelay = `${index * 70}ms`;
  span.style.animationDuration = `${1600 + Math.round(Math.random() * 900)}ms`;
  span.onanimationend = () => span.remove();
  return span;
}
