import type { CSSProperties, ReactNode } from "react";
import { classes } from "./classes";
import styles from "./Feedback.module.css";
import { Icon } from "./Icon";
import type { IconName } from "./icons";

/** The place of something that is being loaded. It appears after 200 ms, so that what is quick does not flicker. */
export function Skeleton({ width = "100%", height = 16, isRound = false }: { readonly width?: CSSProperties["width"]; readonly height?: CSSProperties["height"]; readonly isRound?: boolean }): ReactNode {
  return <span className={classes(styles.skeleton, isRound && styles.round)} style={{ width, height }} aria-hidden />;
}

/** A number in a pill. `isQuiet` where it does not ask for attention, as in a muted conversation. */
export function Badge({ count, isQuiet = false, label, more = false }: { readonly count?: number; readonly isQuiet?: boolean; readonly label?: string; readonly more?: boolean }): ReactNode {
  const text = count === undefined ? "" : count > 99 || more ? `${Math.min(count, 99)}+` : String(count);
  return (
    <span className={classes(styles.badge, isQuiet && styles.quiet, count === undefined && styles.dot)}>
      <span aria-hidden={label !== undefined}>{text}</span>
      {label !== undefined && <span className="visually-hidden">{label}</span>}
    </span>
  );
}

/** What stands where there is nothing yet: what could be here, and how it gets here. */
export function EmptyState({ icon, title, text, children }: { readonly icon: IconName; readonly title: string; readonly text?: string; readonly children?: ReactNode }): ReactNode {
  return (
    <div className={styles.empty}>
      <span className={styles.emptyIcon}>
        <Icon name={icon} size={28} />
      </span>
      <h2>{title}</h2>
      {text !== undefined && <p>{text}</p>}
      {children}
    </div>
  );
}
