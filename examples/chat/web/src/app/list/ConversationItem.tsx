import { sentAt, type ListedConversation } from "@im-sdk/client";
import { usePresence } from "@im-sdk/client/react";
import { memo, type MouseEvent, type ReactNode } from "react";
import { useMe, useName } from "../../api";
import { Avatar, Badge, classes, Icon, IconButton, type Anchor } from "../../design";
import { formatDateTime, formatWhen, useText } from "../../text";
import { Link } from "../Link";
import { pathOf } from "../routes";
import { useTarget } from "../useTarget";
import { isMuted, keyOf } from "./conversation";
import styles from "./List.module.css";
import { usePreview } from "./preview";

export interface ConversationItemProps {
  readonly listed: ListedConversation;
  readonly isCurrent: boolean;
  /** Set for the one that the Tab key reaches. */
  readonly isReachable: boolean;
  readonly onMenu: (listed: ListedConversation, anchor: Anchor) => void;
}

/** A conversation in the list: whom it is with, what came last, what is unread. */
export const ConversationItem = memo(function ConversationItem({ listed, isCurrent, isReachable, onMenu }: ConversationItemProps): ReactNode {
  const t = useText();
  const { conversation, state, last, unread, unreadMore, mentions } = listed;
  const target = useTarget(conversation);
  const presence = usePresence(conversation.user === undefined ? [] : [conversation.user]).get(conversation.user ?? "");
  const muted = isMuted(state);
  const isUnread = unread > 0 || state.markedUnread;
  const openMenu = (event: MouseEvent): void => {
    event.preventDefault();
    // The menu key has no position of its own.
    const isKey = event.clientX === 0 && event.clientY === 0;
    onMenu(listed, isKey ? event.currentTarget : { x: event.clientX, y: event.clientY });
  };
  return (
    <li className={styles.item} data-conversation={keyOf(conversation)}>
      <Link
        to={pathOf(conversation)}
        className={classes(styles.link, isUnread && !muted && styles.unread)}
        aria-current={isCurrent ? "page" : undefined}
        tabIndex={isReachable ? 0 : -1}
        onContextMenu={openMenu}
        draggable={false}
      >
        <Avatar {...target} file={target.avatar} size={46} presence={presence?.terminals.some(({ online }) => online) ? "online" : "offline"} />
        <span className={styles.lines}>
          <span className={styles.first}>
            <bdi className={styles.name}>{target.name}</bdi>
            {state.pinned && <Icon name="pin" size={14} label={t("list.pinned")} />}
            {muted && <Icon name="bell-off" size={14} label={t("list.muted")} />}
            {last && (
              <time className={styles.time} dateTime={new Date(sentAt(last.id)).toISOString()} title={formatDateTime(sentAt(last.id))}>
                {formatWhen(sentAt(last.id))}
              </time>
            )}
          </span>
          <span className={styles.second}>
            <span className={styles.preview} dir="auto">
              <Preview listed={listed} isCurrent={isCurrent} />
            </span>
            {mentions > 0 && <Icon name="at" size={16} label={t("list.mentioned")} />}
            {unread > 0 ? (
              <Badge count={unread} more={unreadMore} isQuiet={muted} label={t("list.unread", { count: unread })} />
            ) : (
              state.markedUnread && <Badge isQuiet={muted} label={t("list.markedUnread")} />
            )}
          </span>
        </span>
      </Link>
      <span className={styles.more}>
        <IconButton icon="chevron-down" size={18} label={t("list.actions", { name: target.name })} tabIndex={-1} aria-haspopup="menu" onClick={(event) => onMenu(listed, event.currentTarget)} />
      </span>
    </li>
  );
});

function Preview({ listed: { conversation, state, last, lastRecalled }, isCurrent }: { readonly listed: ListedConversation; readonly isCurrent: boolean }): ReactNode {
  const t = useText();
  const me = useMe();
  const preview = usePreview();
  const author = useName(last?.from);
  const recaller = useName(lastRecalled?.by);
  if (state.draft && !isCurrent) {
    return (
      <>
        <span className={styles.draft}>{t("list.draft")}</span> {state.draft}
      </>
    );
  }
  if (lastRecalled) return lastRecalled.by === me.id ? t("preview.recalledOwn") : t("preview.recalled", { name: recaller || t("preview.somebody") });
  if (!last) return null;
  const text = preview(last.content);
  if (last.content.notice || last.from === undefined) return text;
  if (last.from === me.id) return `${t("preview.own")}${text}`;
  return conversation.channel === undefined ? text : `${author}${t("preview.colon")}${text}`;
}
