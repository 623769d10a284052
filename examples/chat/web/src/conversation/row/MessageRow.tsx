import type { MessageId } from "@im-sdk/client";
import { memo, useRef, type MouseEvent, type PointerEvent, type ReactNode } from "react";
import { Avatar, classes, Icon } from "../../design";
import { useUser } from "../../api";
import { navigate, pathOf } from "../../app/routes";
import { formatTime, useText } from "../../text";
import type { MessageActions } from "../actions/useMessageActions";
import { HoverBar } from "../actions/HoverBar";
import { useName } from "../names";
import { usePane, usePaneState } from "../pane/context";
import type { MessageView } from "../window/entries";
import { isBubble } from "../window/rows";
import { Body } from "./Body";
import { Notice } from "./Notice";
import { QuoteBox } from "./QuoteBox";
import { Reactions } from "./Reactions";
import styles from "./row.module.css";
import { Status } from "./Status";

interface Props {
  readonly message: MessageView;
  readonly isFirst: boolean;
  readonly isLast: boolean;
  readonly isRead: boolean;
  /** Whether the Tab key reaches it. */
  readonly isTabStop: boolean;
  readonly actions: MessageActions;
  /** Replies that are loaded, if it begins a thread. */
  readonly replies: number;
}

const LONG_PRESS_MS = 450;

/** A message of the list: a bubble, or a line for what the system says and what was recalled. */
export const MessageRow = memo(function MessageRow(props: Props): ReactNode {
  const t = useText();
  const pane = usePane();
  const { message } = props;
  const by = useName(message.recalled?.by ?? message.from);
  if (message.recalled) return <p className={styles.line}>{(message.recalled.by ?? message.from) === pane.client.user ? t("chat.recalledOwn") : t("chat.recalledBy", { name: by })}</p>;
  if (message.content?.notice) return <Notice notice={message.content.notice} me={pane.client.user} />;
  return isBubble(message) ? <Bubble {...props} /> : null;
});

function Bubble({ message, isFirst, isLast, isRead, isTabStop, actions, replies }: Props): ReactNode {
  const t = useText();
  const pane = usePane();
  const me = pane.client.user;
  const { key, id, content, from, at } = message;
  const isOwn = from === me;
  const isGroup = pane.conversation.channel !== undefined;
  const name = useName(from);
  const author = useUser(isGroup && !isOwn ? from : undefined);
  const isOpen = usePaneState((state) => state.opened.has(key));
  const isActive = usePaneState((state) => state.active === key && !state.selected);
  const isHighlighted = usePaneState((state) => state.highlighted === key);
  const isSelecting = usePaneState((state) => state.selected !== undefined);
  const isSelected = usePaneState((state) => state.selected?.has(id) ?? false);
  const press = useLongPress((x, y) => actions.openMenu(message, { x, y }));
  const jump = (quoted: MessageId): void => void pane.jumpTo({ id: quoted });
  const menu = (event: MouseEvent): void => {
    // A selected text and links have the browser's own menu.
    if (String(getSelection()) !== "" || (event.target as Element).closest("a, video")) return;
    event.preventDefault();
    actions.openMenu(message, { x: event.clientX, y: event.clientY });
  };
  const hasMedia = Boolean(content?.image ?? content?.video);
  return (
    <div
      className={classes(styles.message, isOwn && styles.own, isFirst && styles.first, isLast && styles.last, isHighlighted && styles.highlighted, isSelected && styles.selected)}
      onPointerEnter={(event) => event.pointerType === "mouse" && pane.state.set({ active: key })}
      onClickCapture={(event) => {
        if (!isSelecting) return;
        event.preventDefault();
        event.stopPropagation();
        pane.select(id);
      }}
    >
      {isSelecting && (
        <span className={styles.tick} role="checkbox" aria-checked={isSelected} aria-label={t("chat.selectMessage")} tabIndex={0} onKeyDown={(event) => event.key === " " && (event.preventDefault(), pane.select(id))}>
          {isSelected && <Icon name="check" size={16} />}
        </span>
      )}
      {isGroup && !isOwn && (
        <div className={styles.side}>
          {isLast && from !== undefined && (
            <button type="button" tabIndex={-1} className={styles.face} onClick={() => navigate(pathOf({ user: from }))}>
              <Avatar id={from} name={name} file={author?.avatar} size={32} />
              <span className="visually-hidden">{t("chat.openChatWith", { name })}</span>
            </button>
          )}
        </div>
      )}
      <div className={styles.column}>
        <article
          className={classes(styles.bubble, hasMedia && styles.media)}
          tabIndex={isTabStop ? 0 : -1}
          data-message={key}
          data-seq={message.seq}
          aria-label={t("chat.messageLabel", { name: isOwn ? t("chat.you") : name, time: formatTime(at) })}
          onFocus={() => pane.state.set({ active: key, current: key })}
          onKeyDown={(event) => actions.onKeyDown(event, message)}
          onContextMenu={menu}
          {...press}
        >
          {isGroup && !isOwn && isFirst ? <bdi className={styles.name}>{name}</bdi> : <span className="visually-hidden">{isOwn ? t("chat.you") : name}: </span>}
          {content?.quote && <QuoteBox quote={content.quote} onJump={jump} />}
          {content && (
            <Body
              content={content}
              me={me}
              isOwn={isOwn}
              isOpen={isOpen}
              onOpen={() => pane.toggle("opened", key, true)}
              onView={() => pane.state.set({ viewing: id })}
              tail={<Status at={at} isEdited={message.isEdited} isPinned={message.isPinned} status={isOwn ? (isRead ? "read" : "sent") : undefined} />}
              onPlaying={(isPlaying) => pane.toggle("kept", key, isPlaying)}
            />
          )}
        </article>
        <Reactions groups={message.reactions} me={me} onReact={(emoji, removed) => actions.react(message, emoji, removed)} />
        {(replies > 0 || (content?.thread ?? 0n) !== 0n) && (
          <button type="button" className={styles.thread} onClick={() => actions.openThread(message)}>
            <Icon name="thread" size={14} />
            {replies > 0 ? t("chat.replies", { count: replies }) : t("chat.inThread")}
          </button>
        )}
        {isActive && <HoverBar message={message} isOwn={isOwn} actions={actions} />}
      </div>
    </div>
  );
}

/** Calls a function when a finger rests. A mouse has its own button for that. */
function useLongPress(open: (x: number, y: number) => void): Pick<React.DOMAttributes<HTMLElement>, "onPointerDown" | "onPointerMove" | "onPointerUp" | "onPointerCancel"> {
  const timer = useRef<ReturnType<typeof setTimeout>>(undefined);
  const end = (): void => clearTimeout(timer.current);
  return {
    onPointerDown: ({ pointerType, clientX, clientY }: PointerEvent) => {
      end();
      if (pointerType === "touch") timer.current = setTimeout(() => open(clientX, clientY), LONG_PRESS_MS);
    },
    onPointerMove: ({ movementX, movementY }: PointerEvent) => {
      if (Math.abs(movementX) + Math.abs(movementY) > 4) end();
    },
    onPointerUp: end,
    onPointerCancel: end,
  };
}
