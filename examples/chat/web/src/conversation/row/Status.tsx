import type { ReactNode } from "react";
import { Icon } from "../../design";
import { formatTime, useText } from "../../text";
import styles from "./row.module.css";

export type SendStatus = "pending" | "sent" | "read" | "failed";

/** The time of a message, whether it was edited, and how far it has come. */
export function Status({ at, isEdited, isPinned, status }: { readonly at: number | undefined; readonly isEdited?: boolean; readonly isPinned?: boolean; readonly status?: SendStatus | undefined }): ReactNode {
  const t = useText();
  const icons = { pending: "clock", sent: "check", read: "checks", failed: "alert" } as const;
  const labels = { pending: t("chat.statusPending"), sent: t("chat.statusSent"), read: t("chat.statusRead"), failed: t("chat.statusFailed") };
  return (
    <span className={styles.status} data-status={status}>
      {isPinned && <Icon name="pin" size={12} label={t("chat.pinned")} />}
      {isEdited && <span>{t("chat.edited")}</span>}
      {at !== undefined && (
        <time dateTime={new Date(at).toISOString()} title={new Date(at).toLocaleString()}>
          {formatTime(at)}
        </time>
      )}
      {status && <Icon name={icons[status]} size={14} label={labels[status]} />}
    </span>
  );
}
