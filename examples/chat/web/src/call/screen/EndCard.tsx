import type { ReactNode } from "react";
import { Avatar, IconButton } from "../../design";
import { useText } from "../../text";
import type { CallState } from "../machine/types";
import styles from "./Card.module.css";
import { statusOf } from "./status";
import { useCallee } from "./useCallee";

/** Says for some seconds how a call ended that was not answered here. */
export function EndCard({ state, onClose }: { readonly state: Extract<CallState, { phase: "ended" }>; readonly onClose: () => void }): ReactNode {
  const t = useText();
  const callee = useCallee(state.call.user);
  return (
    <div className={styles.card} role="status">
      <div className={styles.who}>
        <Avatar {...callee} size={44} />
        <div className={styles.lines}>
          <bdi className={styles.name}>{callee.name}</bdi>
          <span className={styles.note}>{statusOf(t, state, callee.name)}</span>
        </div>
        <IconButton icon="close" label={t("close")} onClick={onClose} />
      </div>
    </div>
  );
}
