import { memo, useLayoutEffect, useMemo, useRef, type ReactNode } from "react";
import { errorText, useNames, useUsers } from "../api";
import { limitMarks, withoutControls } from "../conversation/richtext/bidi";
import { Avatar, Button, classes, EmptyState, Icon, IconButton } from "../design";
import { useText } from "../text";
import styles from "./MessageLog.module.css";
import type { RoomMessage } from "./RoomLog";
import type { PendingMessage, RoomStore, RoomView } from "./RoomStore";

/** Rounded positions differ by so much at the end of a list. */
const AT_END_PX = 2;

/** The messages of a room, the newest at the end; scrolling back holds them. */
export function MessageLog({ view, store }: { readonly view: RoomView; readonly store: RoomStore }): ReactNode {
  const t = useText();
  const list = useRef<HTMLDivElement>(null);
  const { messages, pending, isPaused, isBusy } = view;
  const authors = useMemo(() => [...new Set(messages.map(({ from }) => from))], [messages]);
  const names = useNames(authors);
  const users = useUsers(authors);
  useLayoutEffect(() => {
    if (!isPaused && list.current) list.current.scrollTop = list.current.scrollHeight;
  }, [messages, pending, isPaused]);
  const isEmpty = messages.length === 0 && pending.length === 0;
  return (
    <div className={styles.log}>
      <div
        ref={list}
        className={styles.scroller}
        role="log"
        aria-label={t("room.messages")}
        aria-live={isBusy ? "off" : "polite"}
        tabIndex={0}
        onScroll={({ currentTarget: { scrollHeight, scrollTop, clientHeight } }) => store.pause(scrollHeight - scrollTop - clientHeight > AT_END_PX)}
      >
        {isEmpty && view.status.name === "in" && <EmptyState icon="chat" title={t("room.quiet")} text={t("room.quietText")} />}
        <div className={styles.rows}>
          {messages.map((message) => (
            <Row key={message.key} message={message} name={names.get(message.from) ?? message.from} avatar={users.get(message.from)?.avatar} />
          ))}
          {pending.map((message) => (
            <PendingRow key={message.localId} message={message} store={store} />
          ))}
        </div>
      </div>
      {isPaused && (
        <Button kind="primary" icon="arrow-down" className={styles.new} onClick={() => store.pause(false)}>
          {t("room.new", { count: view.new })}
        </Button>
      )}
    </div>
  );
}

interface RowProps {
  readonly message: RoomMessage;
  readonly name: string;
  readonly avatar: string | null | undefined;
}

const Row = memo(function Row({ message: { from, text, isOwn }, name, avatar }: RowProps): ReactNode {
  return (
    <div className={classes(styles.row, isOwn && styles.own)}>
      <Avatar id={from} name={name} file={avatar} size={28} />
      <div className={styles.said}>
        <bdi className={styles.name}>{withoutControls(name)}</bdi>
        <span className="visually-hidden">: </span>
        <p dir="auto">{limitMarks(withoutControls(text))}</p>
      </div>
    </div>
  );
});

function PendingRow({ message: { localId, text, error }, store }: { readonly message: PendingMessage; readonly store: RoomStore }): ReactNode {
  const t = useText();
  return (
    <div className={classes(styles.row, styles.own, styles.pending)}>
      <Icon name={error === undefined ? "clock" : "alert"} size={18} />
      <div className={styles.said}>
        <p dir="auto">{text}</p>
        {error !== undefined && (
          <p className={styles.refusal} role="alert">
            {t("room.notSent", { reason: errorText(error) })}
          </p>
        )}
      </div>
      {error !== undefined && (
        <>
          <IconButton icon="retry" label={t("retry")} onClick={() => void store.retry(localId)} />
          <IconButton icon="trash" label={t("room.discard")} onClick={() => void store.discard(localId)} />
        </>
      )}
    </div>
  );
}
