import type { proto } from "@im-sdk/client";
import type { ReactNode } from "react";
import { useFileLinks } from "../../api";
import { Icon } from "../../design";
import { formatBytes, useText } from "../../text";
import { withoutControls } from "../richtext/bidi";
import styles from "./media.module.css";

/** A file to download. */
export function FileBox({ file }: { readonly file: proto.File }): ReactNode {
  const t = useText();
  const url = file.media?.url ?? "";
  const link = useFileLinks([url]).get(url);
  const name = withoutControls(file.media?.name ?? "") || t("chat.kindFile");
  return (
    <a className={styles["file"]} href={link?.download} download={name} aria-disabled={!link} aria-label={t("chat.downloadFile", { name })}>
      <span className={styles["fileIcon"]}>
        <Icon name="file" />
      </span>
      <span className={styles["fileName"]}>
        <bdi dir="auto">{name}</bdi>
        <small>{formatBytes(file.media?.bytes ?? 0)}</small>
      </span>
      <Icon name="download" size={18} />
    </a>
  );
}
