import { useCallback, useSyncExternalStore, type ReactNode } from "react";
import { classes } from "./classes";
import { Icon } from "./Icon";
import styles from "./Toast.module.css";

export interface ToastOptions {
  readonly kind?: "plain" | "ok" | "danger";
  readonly action?: { readonly label: string; readonly onSelect: () => void };
}

interface Toast extends ToastOptions {
  readonly id: number;
  readonly text: string;
}

const SHOWN_MS = 5000;
let toasts: readonly Toast[] = [];
let lastId = 0;
const listeners = new Set<() => void>();

function set(next: readonly Toast[]): void {
  toasts = next;
  for (const listener of listeners) listener();
}

const remove = (id: number): void => set(toasts.filter((toast) => toast.id !== id));

/** Shows a short message for some seconds. What is said twice is shown once. */
export function showToast(text: string, options: ToastOptions = {}): void {
  const id = ++lastId;
  set([...toasts.filter((toast) => toast.text !== text).slice(-2), { ...options, id, text }]);
  setTimeout(() => remove(id), options.action ? 2 * SHOWN_MS : SHOWN_MS);
}

/** Returns `showToast`. */
export function useToast(): typeof showToast {
  return showToast;
}

function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

/** The place of the toasts: once in the application. */
export function Toasts(): ReactNode {
  const shown = useSyncExternalStore(subscribe, () => toasts);
  // Shown anew with each toast, so that it lies above dialogs that were opened meanwhile.
  const raise = useCallback(
    (layer: HTMLDivElement | null) => {
      if (shown.length > 0) layer?.showPopover();
      return () => layer?.hidePopover();
    },
    [shown],
  );
  return (
    <div ref={raise} popover="manual" role="status" className={styles.toasts}>
      {shown.map(({ id, text, kind = "plain", action }) => (
        <div key={id} className={classes(styles.toast, styles[kind])}>
          {kind !== "plain" && <Icon name={kind === "ok" ? "check" : "alert"} size={18} />}
          <span>{text}</span>
          {action && (
            <button
              type="button"
              onClick={() => {
                remove(id);
                action.onSelect();
              }}
            >
              {action.label}
            </button>
          )}
        </div>
      ))}
    </div>
  );
}
