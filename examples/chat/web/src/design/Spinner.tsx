import type { ReactNode } from "react";
import styles from "./Feedback.module.css";

/** Turns while something small goes on. For what has a shape, use a `Skeleton`. */
export function Spinner({ size = 20, label }: { readonly size?: number; readonly label?: string }): ReactNode {
  return <span className={styles.spinner} style={{ width: size, height: size }} role={label ? "status" : undefined} aria-label={label} aria-hidden={label ? undefined : true} />;
}
