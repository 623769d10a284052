import type { ReactNode } from "react";
import { Icon, IconButton } from "../../design";
import { useText } from "../../text";
import { kindOf, textOf } from "../content";
import { useKindName } from "../kindName";
import { useName } from "../names";
import type { Pane, PaneState } from "../pane/Pane";
import { useStore } from "../store";
import type { MessageView } from "../window/entries";
import styles from "./composer.module.css";

const replyOf = (state: PaneState): MessageView | undefined => state.replyTo;
const editOf = (state: PaneState): MessageView | undefined => state.editing;

/** The message that is answered or edited. */
export function Reference({ pane }: { readonly pane: Pane }): ReactNode {
  const t = useText();
  const replyTo = useStore(pane.state, replyOf);
  const editing = useStore(pane.state, editOf);
  const kindName = useKindName();
  const message = editing ?? replyTo;
  const name = useName(message?.from);
  if (!message) return null;
  const said = textOf(message.content) || kindName(message.content ? kindOf(message.content) : "");
  return (
    <div className={styles.reference}>
      <Icon name={editing ? "edit" : "reply"} size={18} />
      <div className={styles.referenceText}>
        <strong>{editing ? t("chat.editing") : t("chat.replyingTo", { name: message.from === pane.client.user ? t("chat.you") : name })}</strong>
        <span dir="auto">{said.slice(0, 200)}</span>
      </div>
      <IconButton icon="close" size={18} label={editing ? t("chat.cancelEdit") : t("chat.cancelReply")} onClick={() => pane.state.set({ editing: undefined, replyTo: undefined })} />
    </div>
  );
}
