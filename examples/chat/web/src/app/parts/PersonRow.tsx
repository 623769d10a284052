import type { ReactNode } from "react";
import { Avatar } from "../../design";
import { Link } from "../Link";
import styles from "./Rows.module.css";

export interface PersonRowProps {
  readonly id: string;
  readonly name: string;
  readonly avatar: string | null | undefined;
  readonly presence?: "online" | "offline" | undefined;
  /** Below the name. */
  readonly note?: ReactNode;
  /** Where a press leads. */
  readonly to?: string;
  /** Buttons at the end. */
  readonly children?: ReactNode;
}

/** A user or a group in a list. */
export function PersonRow({ id, name, avatar, presence, note, to, children }: PersonRowProps): ReactNode {
  const inside = (
    <>
      <Avatar id={id} name={name} file={avatar} size={40} presence={presence} />
      <span className={styles.text}>
        <bdi className={styles.name}>{name}</bdi>
        {note !== undefined && note !== "" && <span className={styles.note}>{note}</span>}
      </span>
    </>
  );
  return (
    <li className={styles.row}>
      {to === undefined ? (
        <span className={styles.main}>{inside}</span>
      ) : (
        <Link to={to} className={styles.main}>
          {inside}
        </Link>
      )}
      {children !== undefined && <span className={styles.actions}>{children}</span>}
    </li>
  );
}
