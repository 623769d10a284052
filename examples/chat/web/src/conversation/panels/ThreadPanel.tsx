import { useLayoutEffect, useMemo, useRef, useState, useSyncExternalStore, type ReactNode } from "react";
import { useUser } from "../../api";
import { Avatar, Button, Skeleton } from "../../design";
import { formatTime, useText } from "../../text";
import { useReport } from "../actions/useReport";
import { Composer } from "../composer/Composer";
import { Uploads } from "../composer/uploads";
import { useName } from "../names";
import { usePane } from "../pane/context";
import { Body } from "../row/Body";
import { Reactions } from "../row/Reactions";
import type { MessageView } from "../window/entries";
import styles from "./panels.module.css";
import { ThreadStore } from "./ThreadStore";

/** A message with what hangs on it, and a place to answer. */
export function ThreadPanel({ root }: { readonly root: bigint }): ReactNode {
  const t = useText();
  const pane = usePane();
  const store = useMemo(() => new ThreadStore(pane.client, pane.conversation, root), [pane, root]);
  const uploads = useMemo(() => new Uploads(), []);
  const view = useSyncExternalStore(store.subscribe, store.getSnapshot);
  const list = useRef<HTMLOListElement>(null);
  const count = view.replies.length;
  // It begins and stays at its end.
  useLayoutEffect(() => {
    if (list.current) list.current.scrollTop = list.current.scrollHeight;
  }, [count]);
  return (
    <>
      <ol ref={list} className={styles.threadList} role="log" aria-label={t("chat.thread")}>
        {view.root ? <Entry message={view.root} isRoot /> : view.isLoading ? <Skeleton height={48} /> : <li className={styles.hint}>{t("chat.threadGone")}</li>}
        {view.replies.map((message) => (
          <Entry key={message.key} message={message} />
        ))}
        {view.more && !view.isLoading && (
          <li>
            <Button onClick={() => void store.load()}>{t("chat.loadMore")}</Button>
          </li>
        )}
      </ol>
      <Composer pane={pane} uploads={uploads} draft="" thread={root} />
    </>
  );
}

function Entry({ message, isRoot = false }: { readonly message: MessageView; readonly isRoot?: boolean }): ReactNode {
  const t = useText();
  const pane = usePane();
  const name = useName(message.from);
  const user = useUser(message.from);
  const report = useReport(pane);
  const [isOpen, setOpen] = useState(false);
  const me = pane.client.user;
  return (
    <li className={styles.entry} data-root={isRoot || undefined}>
      <Avatar id={message.from ?? ""} name={name} file={user?.avatar} size={32} />
      <div className={styles.entryBody}>
        <p className={styles.entryHead}>
          <bdi>{message.from === me ? t("chat.you") : name}</bdi>
          <time dateTime={new Date(message.at).toISOString()}>{formatTime(message.at)}</time>
          {message.isEdited && <span>{t("chat.edited")}</span>}
        </p>
        {message.recalled && <p className={styles.hint}>{t("chat.recalledShort")}</p>}
        {message.content && (
          <Body content={message.content} me={me} isOpen={isOpen} onOpen={() => setOpen(true)} onView={() => pane.state.set({ viewing: message.id })} onPlaying={() => undefined} />
        )}
        <Reactions groups={message.reactions} me={me} onReact={(emoji, removed) => report(pane.changes.react(message, emoji, removed))} />
      </div>
    </li>
  );
}
