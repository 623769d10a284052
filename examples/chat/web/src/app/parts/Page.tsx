import type { ReactNode } from "react";
import { IconButton } from "../../design";
import { useText } from "../../text";
import { goBack } from "../routes";
import styles from "./Page.module.css";

/** A page of an area, beside its list. On a narrow screen a button leads back there. */
export function Page({ title, backTo, actions, children }: { readonly title: string; readonly backTo: string; readonly actions?: ReactNode; readonly children: ReactNode }): ReactNode {
  const t = useText();
  return (
    <>
      <header className={styles.header}>
        <span className={styles.back}>
          <IconButton icon="back" label={t("back")} onClick={() => goBack(backTo)} />
        </span>
        <h1>{title}</h1>
        {actions}
      </header>
      <div className={styles.scroller} tabIndex={-1}>
        <div className={styles.content}>{children}</div>
      </div>
    </>
  );
}

/** A part of a page, with a title. */
export function Section({ title, children }: { readonly title?: string; readonly children: ReactNode }): ReactNode {
  return (
    <section className={styles.section}>
      {title !== undefined && <h2>{title}</h2>}
      {children}
    </section>
  );
}
