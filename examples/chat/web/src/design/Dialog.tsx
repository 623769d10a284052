import { useCallback, useId, type ReactNode } from "react";
import { IconButton } from "./Button";
import { classes } from "./classes";
import styles from "./Dialog.module.css";

export interface DialogProps {
  readonly title: string;
  readonly onClose: () => void;
  readonly closeLabel: string;
  readonly children: ReactNode;
  /** Buttons below, the one that goes on last. */
  readonly footer?: ReactNode;
  readonly size?: "small" | "medium" | "large";
  /** Without a visible title and padding, as for the quick switcher. */
  readonly isBare?: boolean;
}

/** A modal dialog; on narrow screens a sheet from below. Esc and a press outside close it, and the focus goes back. */
export function Dialog({ title, onClose, closeLabel, children, footer, size = "medium", isBare = false }: DialogProps): ReactNode {
  const id = useId();
  const show = useCallback((dialog: HTMLDialogElement | null) => {
    dialog?.showModal();
    // `close` gives the focus back; a removed element would not.
    return () => dialog?.close();
  }, []);
  return (
    <dialog
      ref={show}
      className={classes(styles.dialog, styles[size], isBare && styles.bare)}
      aria-labelledby={id}
      onCancel={(event) => {
        if (event.target !== event.currentTarget) return;
        event.preventDefault();
        onClose();
      }}
      onPointerDown={(event) => {
        if (event.target === event.currentTarget) onClose();
      }}
    >
      <div className={styles.body}>
        <header className={isBare ? "visually-hidden" : styles.header}>
          <h2 id={id}>{title}</h2>
          {!isBare && <IconButton icon="close" label={closeLabel} onClick={onClose} />}
        </header>
        <div className={styles.content} {...(!isBare && { tabIndex: 0 })}>{children}</div>
        {footer !== undefined && <footer className={styles.footer}>{footer}</footer>}
      </div>
    </dialog>
  );
}
