import type { ReactNode } from "react";
import { Skeleton } from "../../design";
import styles from "./Frame.module.css";
import shell from "./Shell.module.css";

/** The shape of the page before there is anything to show. */
export function Frame(): ReactNode {
  return (
    <div className={shell.shell} data-view="side" aria-busy>
      <span />
      <div className={shell.side}>
        <SideSkeleton />
      </div>
      <div className={shell.pane} />
    </div>
  );
}

export function SideSkeleton(): ReactNode {
  return (
    <div className={styles.side}>
      <Skeleton width="40%" height={22} />
      <ListSkeleton />
    </div>
  );
}

/** The shape of a list of things with a picture, a name and a line. */
export function ListSkeleton({ rows = 7 }: { readonly rows?: number }): ReactNode {
  return (
    <div className={styles.list} role="presentation">
      {Array.from({ length: rows }, (_, index) => (
        <div key={index} className={styles.row}>
          <Skeleton width={44} height={44} isRound />
          <span>
            <Skeleton width={`${55 - ((index * 17) % 30)}%`} height={14} />
            <Skeleton width={`${90 - ((index * 23) % 40)}%`} height={12} />
          </span>
        </div>
      ))}
    </div>
  );
}

export function PaneSkeleton(): ReactNode {
  return (
    <div className={styles.pane}>
      <Skeleton width="30%" height={22} />
      {[46, 62, 34, 52].map((width, index) => (
        <span key={width} className={index % 3 === 1 ? styles.own : undefined}>
          <Skeleton width={`${width}%`} height={48} />
        </span>
      ))}
    </div>
  );
}
