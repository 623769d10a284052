import { sentAt, type Content, type MessageId } from "@im-sdk/client";
import type { ReactNode } from "react";
import { useUser } from "../../api";
import { Avatar } from "../../design";
import { formatWhen, useText } from "../../text";
import { kindOf, textOf } from "../content";
import { useKindName } from "../kindName";
import { useName } from "../names";
import { usePane } from "../pane/context";
import { closePanel } from "./panel";
import styles from "./panels.module.css";

const AROUND = 60;

/** A message in a list, which leads to its place. */
export function Hit({ id, from, content, found }: { readonly id: MessageId; readonly from: string | undefined; readonly content: Content | undefined; readonly found?: string }): ReactNode {
  const t = useText();
  const pane = usePane();
  const name = useName(from);
  const user = useUser(from);
  const kindName = useKindName();
  const text = textOf(content) || kindName(content ? kindOf(content) : "");
  const go = (): void => {
    // On a narrow screen the panel covers the messages.
    if (matchMedia("(width < 900px)").matches) closePanel(pane.conversation);
    void pane.jumpTo({ id });
  };
  return (
    <li>
      <button type="button" className={styles.hit} onClick={go}>
        <Avatar id={from ?? ""} name={name} file={user?.avatar} size={32} />
        <span className={styles.hitText}>
          <span className={styles.entryHead}>
            <bdi>{from === pane.client.user ? t("chat.you") : name}</bdi>
            <time dateTime={new Date(sentAt(id)).toISOString()}>{formatWhen(sentAt(id))}</time>
          </span>
          <span dir="auto" className={styles.excerpt}>
            {found ? <Marked text={text} words={found} /> : text.slice(0, 200)}
          </span>
        </span>
      </button>
    </li>
  );
}

/** Shows a text around the first word that was found, with all of them marked. */
function Marked({ text, words }: { readonly text: string; readonly words: string }): ReactNode {
  const wanted = words.trim().split(/\s+/).filter(Boolean).map((word) => word.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"));
  const pattern = new RegExp(`(${wanted.join("|")})`, "iu");
  const at = pattern.exec(text)?.index ?? 0;
  const start = Math.max(0, at - AROUND);
  const shown = text.slice(start, at + 3 * AROUND);
  return (
    <>
      {start > 0 && "…"}
      {shown.split(new RegExp(pattern.source, "giu")).map((piece, index) => (index % 2 === 1 ? <mark key={index}>{piece}</mark> : piece))}
    </>
  );
}
