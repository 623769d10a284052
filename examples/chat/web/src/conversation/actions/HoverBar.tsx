import type { ReactNode } from "react";
import { classes, IconButton } from "../../design";
import { useText } from "../../text";
import type { MessageView } from "../window/entries";
import styles from "./actions.module.css";
import type { MessageActions } from "./useMessageActions";

const QUICK = ["👍", "❤️", "😂"];

/** The actions beside the message under the pointer or with the focus. */
export function HoverBar({ message, isOwn, actions }: { readonly message: MessageView; readonly isOwn: boolean; readonly actions: MessageActions }): ReactNode {
  const t = useText();
  const own = new Set(message.reactions.flatMap(({ emoji, users }) => (users.includes(actions.me) ? [emoji] : [])));
  return (
    <div className={classes(styles.bar, isOwn && styles.ownBar)} role="toolbar" aria-label={t("chat.messageActions")}>
      {QUICK.map((emoji) => (
        <button key={emoji} type="button" className={styles.emoji} aria-label={t("chat.reactWith", { emoji })} title={t("chat.reactWith", { emoji })} onClick={() => actions.react(message, emoji, own.has(emoji))}>
          {emoji}
        </button>
      ))}
      <IconButton icon="emoji" size={18} label={t("chat.react")} onClick={({ currentTarget }) => actions.openEmoji(message, currentTarget)} />
      <IconButton icon="reply" size={18} label={t("chat.reply")} onClick={() => actions.reply(message)} />
      <IconButton icon="more" size={18} label={t("more")} aria-haspopup="menu" onClick={({ currentTarget }) => actions.openMenu(message, currentTarget)} />
    </div>
  );
}
