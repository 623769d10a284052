import type { proto } from "@im-sdk/client";
import { useState, type ReactNode } from "react";
import { Avatar, Dialog } from "../../design";
import { formatDay, formatTime, useText } from "../../text";
import { useName } from "../names";
import { withoutControls } from "../richtext/bidi";
import { Body } from "../row/Body";
import styles from "./panels.module.css";

/** The messages of a bundle. What the back end has not found itself is marked as the forwarder's word. */
export default function ForwardedDialog({ forwarded, onClose }: { readonly forwarded: proto.Forwarded; readonly onClose: () => void }): ReactNode {
  const t = useText();
  return (
    <Dialog title={withoutControls(forwarded.title) || t("chat.forwardedMessages", { count: forwarded.entries.length })} closeLabel={t("close")} onClose={onClose}>
      <ol className={styles.bundle}>
        {forwarded.entries.map((entry, index) => (
          <Entry key={index} entry={entry} />
        ))}
      </ol>
    </Dialog>
  );
}

function Entry({ entry }: { readonly entry: proto.ForwardedEntry }): ReactNode {
  const t = useText();
  const known = useName(entry.from || undefined);
  const [isOpen, setOpen] = useState(false);
  const name = (entry.verified ? known : withoutControls(entry.name)) || known || t("chat.somebody");
  return (
    <li className={styles.entry}>
      <Avatar id={entry.from || name} name={name} size={32} />
      <div className={styles.entryBody}>
        <p className={styles.entryHead}>
          <bdi>{name}</bdi>
          {entry.sentAtMs > 0 && (
            <time dateTime={new Date(entry.sentAtMs).toISOString()}>
              {formatDay(entry.sentAtMs)} {formatTime(entry.sentAtMs)}
            </time>
          )}
          {!entry.verified && <span title={t("chat.unverifiedHint")}>{t("chat.unverified")}</span>}
        </p>
        {entry.content && <Body content={entry.content} me="" isOpen={isOpen} onOpen={() => setOpen(true)} onView={() => {}} onPlaying={() => {}} />}
      </div>
    </li>
  );
}
