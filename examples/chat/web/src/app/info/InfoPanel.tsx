import type { Conversation } from "@im-sdk/client";
import type { ReactNode } from "react";
import { IconButton } from "../../design";
import { useText } from "../../text";
import { GroupInfo } from "../groups/GroupInfo";
import { goBack, pathOf } from "../routes";
import styles from "../parts/Info.module.css";
import { UserInfo } from "./UserInfo";

/** The panel about whom a conversation is with. */
export function InfoPanel({ conversation }: { readonly conversation: Conversation }): ReactNode {
  const t = useText();
  return (
    <>
      <header className={styles.header}>
        <h2>{t(conversation.channel === undefined ? "info.user" : "info.group")}</h2>
        <IconButton icon="close" label={t("close")} onClick={() => goBack(pathOf(conversation))} />
      </header>
      <div className={styles.scroller}>{conversation.channel === undefined ? <UserInfo key={conversation.user} id={conversation.user} /> : <GroupInfo key={conversation.channel} id={conversation.channel} />}</div>
    </>
  );
}
