import type { ReactNode } from "react";
import { errorText } from "../../api";
import { Icon, IconButton } from "../../design";
import { formatBytes, useText } from "../../text";
import { withoutControls } from "../richtext/bidi";
import { useStore } from "../store";
import styles from "./composer.module.css";
import type { Attachment, Attachments, Uploads } from "./uploads";

const listOf = (state: Attachments): readonly Attachment[] => state.list;
const isWaitingOf = (state: Attachments): boolean => state.isWaiting;

/** The attached files, with their progress. */
export function Tray({ uploads }: { readonly uploads: Uploads }): ReactNode {
  const t = useText();
  const list = useStore(uploads.state, listOf);
  const isWaiting = useStore(uploads.state, isWaitingOf);
  if (list.length === 0) return null;
  return (
    <>
      <ul className={styles.tray} aria-label={t("chat.attachments")}>
        {list.map((attachment) => (
          <File key={attachment.id} attachment={attachment} uploads={uploads} />
        ))}
      </ul>
      {isWaiting && (
        <p className={styles.note} role="status">
          {t("chat.willSend")}
        </p>
      )}
    </>
  );
}

function File({ attachment: { id, file, preview, share, stored, error }, uploads }: { readonly attachment: Attachment; readonly uploads: Uploads }): ReactNode {
  const t = useText();
  const name = withoutControls(file.name);
  const percent = Math.round(share * 100);
  const state = error !== undefined ? errorText(error) : stored ? formatBytes(file.size) : t("chat.uploading", { percent });
  return (
    <li className={styles.attached} data-state={error !== undefined ? "failed" : stored ? "done" : "uploading"}>
      {preview ? <img src={preview} alt="" width={44} height={44} /> : <Icon name="file" size={24} />}
      <span className={styles.attachedName}>
        <bdi>{name}</bdi>
        <small>{state}</small>
      </span>
      {error !== undefined && <IconButton icon="retry" size={16} label={t("chat.retryUpload", { name })} onClick={() => uploads.retry(id)} />}
      <IconButton icon="close" size={16} label={t("chat.removeFile", { name })} onClick={() => uploads.remove(id)} />
      {!stored && error === undefined && <progress className={styles.progress} max={100} value={percent} aria-label={t("chat.uploading", { percent })} />}
    </li>
  );
}
