import type { ButtonHTMLAttributes, ReactNode, Ref } from "react";
import { classes } from "./classes";
import styles from "./Button.module.css";
import { Icon } from "./Icon";
import type { IconName } from "./icons";
import { Spinner } from "./Spinner";

export interface ButtonProps extends ButtonHTMLAttributes<HTMLButtonElement> {
  /** How much it asks for attention: `primary` once on a screen. */
  readonly kind?: "primary" | "plain" | "quiet" | "danger";
  readonly icon?: IconName;
  /** Set while what it started goes on. It keeps its width, and cannot be pressed. */
  readonly isBusy?: boolean;
  /** As wide as its container. */
  readonly isWide?: boolean;
  readonly ref?: Ref<HTMLButtonElement>;
}

export function Button({ kind = "plain", icon, isBusy = false, isWide = false, children, className, disabled, ...rest }: ButtonProps): ReactNode {
  return (
    <button
      type="button"
      {...rest}
      className={classes(styles.button, styles[kind], isWide && styles.wide, className)}
      disabled={disabled === true || isBusy}
      aria-busy={isBusy || undefined}
    >
      {isBusy ? <Spinner size={18} /> : icon && <Icon name={icon} size={18} />}
      {children !== undefined && <span>{children}</span>}
    </button>
  );
}

export interface IconButtonProps extends Omit<ButtonHTMLAttributes<HTMLButtonElement>, "children"> {
  readonly icon: IconName;
  /** What it does: its name for screen readers, and its tooltip. */
  readonly label: string;
  readonly size?: number;
  readonly kind?: "quiet" | "primary" | "danger";
  readonly isOn?: boolean;
  readonly ref?: Ref<HTMLButtonElement>;
}

export function IconButton({ icon, label, size = 20, kind = "quiet", isOn, className, ...rest }: IconButtonProps): ReactNode {
  return (
    <button type="button" title={label} aria-label={label} aria-pressed={isOn} {...rest} className={classes(styles.icon, styles[kind], className)}>
      <Icon name={icon} size={size} />
    </button>
  );
}
