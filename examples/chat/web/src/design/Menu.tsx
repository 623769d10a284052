import { useRef, useState, type KeyboardEvent, type ReactNode } from "react";
import { IconButton, type IconButtonProps } from "./Button";
import { classes } from "./classes";
import { Icon } from "./Icon";
import type { IconName } from "./icons";
import type { Anchor } from "./place";
import { Popover } from "./Popover";
import styles from "./Popover.module.css";

export interface MenuItem {
  readonly label: string;
  readonly icon?: IconName;
  /** Such as its shortcut. */
  readonly hint?: string;
  readonly isDanger?: boolean;
  readonly isDisabled?: boolean;
  /** For one of several choices. */
  readonly isChecked?: boolean;
  readonly onSelect: () => void;
}

export interface MenuProps {
  readonly label: string;
  readonly anchor: Anchor;
  /** `undefined` stands for a line between groups. */
  readonly items: readonly (MenuItem | undefined)[];
  readonly onClose: () => void;
  readonly align?: "start" | "end";
  /** Shown above the items, such as a row of reactions. */
  readonly children?: ReactNode;
}

/** A menu that is shown while it is mounted: arrow keys, Home, End, first letters. */
export function Menu({ label, anchor, items, onClose, align, children }: MenuProps): ReactNode {
  const list = useRef<HTMLDivElement>(null);
  const first = items.findIndex((item) => item && !item.isDisabled);
  const move = (event: KeyboardEvent): void => {
    const buttons = [...(list.current?.querySelectorAll<HTMLButtonElement>("button:enabled") ?? [])];
    const at = buttons.indexOf(document.activeElement as HTMLButtonElement);
    const next = nextOf(event.key, at, buttons);
    if (event.key === "Tab") onClose();
    if (next === undefined) return;
    event.preventDefault();
    event.stopPropagation();
    buttons[next]?.focus();
  };
  return (
    <Popover anchor={anchor} onClose={onClose} className={styles.menu} {...(align && { align })}>
      {children}
      <div ref={list} role="menu" aria-label={label} tabIndex={-1} onKeyDown={move}>
        {items.map((item, index) =>
          item === undefined ? (
            <hr key={index} className={styles.separator} />
          ) : (
            <button
              key={item.label}
              type="button"
              role={item.isChecked === undefined ? "menuitem" : "menuitemradio"}
              aria-checked={item.isChecked}
              tabIndex={-1}
              data-autofocus={index === first || undefined}
              disabled={item.isDisabled}
              className={classes(styles.item, item.isDanger && styles.danger)}
              onPointerMove={(event) => event.pointerType === "mouse" && event.currentTarget.focus({ preventScroll: true })}
              onClick={() => {
                onClose();
                item.onSelect();
              }}
            >
              {item.icon && <Icon name={item.icon} size={18} />}
              <span className={styles.label}>{item.label}</span>
              {item.hint !== undefined && <span className={styles.hint}>{item.hint}</span>}
              {item.isChecked && <Icon name="check" size={18} />}
            </button>
          ),
        )}
      </div>
    </Popover>
  );
}

function nextOf(key: string, at: number, buttons: readonly HTMLButtonElement[]): number | undefined {
  const { length } = buttons;
  if (length === 0) return undefined;
  if (key === "ArrowDown") return (at + 1) % length;
  if (key === "ArrowUp") return (at + length - 1) % length;
  if (key === "Home") return 0;
  if (key === "End") return length - 1;
  if (key.length !== 1 || key === " ") return undefined;
  const order = buttons.map((_, index) => (at + 1 + index) % length);
  return order.find((index) => buttons[index]?.textContent.trim().toLocaleLowerCase().startsWith(key.toLocaleLowerCase()));
}

/** A button that shows a menu. */
export function MenuButton({ items, align = "end", label, ...button }: IconButtonProps & Pick<MenuProps, "items" | "align">): ReactNode {
  const [anchor, setAnchor] = useState<Element>();
  return (
    <>
      <IconButton {...button} label={label} aria-haspopup="menu" aria-expanded={anchor !== undefined} onClick={(event) => setAnchor(anchor ? undefined : event.currentTarget)} />
      {anchor && <Menu label={label} anchor={anchor} items={items} align={align} onClose={() => setAnchor(undefined)} />}
    </>
  );
}
