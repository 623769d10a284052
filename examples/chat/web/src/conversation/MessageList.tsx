import { useCallback, useMemo, useSyncExternalStore, type KeyboardEvent, type ReactNode } from "react";
import { Badge, Button, classes, EmptyState, IconButton, Skeleton } from "../design";
import { formatDay, useText } from "../text";
import { useMessageActions } from "./actions/useMessageActions";
import styles from "./conversation.module.css";
import { VirtualList, type ListHandle } from "./list/VirtualList";
import { usePane, usePaneState } from "./pane/context";
import { MessageRow } from "./row/MessageRow";
import { PendingRow } from "./row/PendingRow";
import row from "./row/row.module.css";
import { isBubble, rowsOf, type Row } from "./window/rows";

/** The messages of a conversation. */
export function MessageList({ unread }: { readonly unread: number }): ReactNode {
  const t = useText();
  const pane = usePane();
  const { window } = pane;
  const view = useSyncExternalStore(window.subscribe, window.getSnapshot);
  const newFrom = usePaneState((state) => state.newFrom);
  const kept = usePaneState((state) => state.kept);
  const current = usePaneState((state) => state.current);
  const isAtEnd = usePaneState((state) => state.isAtEnd);
  const peerRead = usePaneState((state) => state.peerRead);
  const { actions, layers } = useMessageActions(pane);
  const me = pane.client.user;
  const rows = useMemo(() => rowsOf({ ...view, newFrom, me }), [view, newFrom, me]);
  const replies = useMemo(() => repliesOf(rows), [rows]);
  // One message is reached by the Tab key, and stays mounted for it.
  const tabStop = rows.some(({ key }) => key === current) ? current : rows.findLast((entry) => entry.kind === "message" && isBubble(entry.message))?.key;
  const mounted = useMemo(() => (tabStop === undefined ? kept : new Set([...kept, tabStop])), [kept, tabStop]);
  const attach = useCallback((handle: ListHandle | null) => void (pane.list = handle), [pane]);

  if (!view.isReady) return view.error ? <Failure onRetry={window.retry} /> : <Waiting />;
  if (view.messages.length === 0 && view.pending.length === 0) return <div className={styles.empty}><EmptyState icon="chat" title={t("chat.emptyTitle")} text={t("chat.emptyText")} /></div>;
  return (
    <div className={styles.messages} onKeyDown={(event) => moveFocus(event, rows, pane)} onPointerLeave={() => pane.state.set({ active: undefined })}>
      <VirtualList
        ref={attach}
        rows={rows}
        estimate={estimateOf}
        isWhole={!view.hasNewer}
        start={pane.place}
        kept={mounted}
        label={t("chat.messages")}
        onScroll={(atEnd) => pane.moved(atEnd)}
        onNear={(side) => void (side === "older" ? window.loadOlder() : window.loadNewer())}
        render={(entry) => {
          switch (entry.kind) {
            case "message": {
              const { message, isFirst, isLast } = entry;
              const isRead = pane.conversation.user !== undefined && message.from === me && peerRead > 0n && window.isRead(message.id, peerRead);
              return <MessageRow message={message} isFirst={isFirst} isLast={isLast} isRead={isRead} isTabStop={entry.key === tabStop} actions={actions} replies={replies.get(message.id) ?? 0} />;
            }
            case "pending":
              return <PendingRow rowKey={entry.key} queued={entry.queued} isFirst={entry.isFirst} isLast={entry.isLast} />;
            case "day":
              return <div className={row.day} role="separator" aria-label={formatDay(entry.at)}><span aria-hidden>{formatDay(entry.at)}</span></div>;
            case "unread":
              return <div className={row.unread} role="separator" aria-label={t("chat.newMessages")}><span aria-hidden>{t("chat.newMessages")}</span></div>;
            case "start":
              return <div className={row.start}>{!entry.isLoading ? t("chat.beginning") : view.error ? <Failure onRetry={window.retry} /> : <Bars />}</div>;
          }
        }}
      />
      <div className={classes(styles.toEnd, isAtEnd && styles.hidden)}>
        {unread > 0 && <Badge count={unread} />}
        <IconButton
          icon="arrow-down"
          label={unread > 0 ? t("chat.toNewestUnread", { count: unread }) : t("chat.toNewest")}
          tabIndex={isAtEnd ? -1 : 0}
          onClick={() => void pane.toEnd()}
        />
      </div>
      {layers}
    </div>
  );
}

function Waiting(): ReactNode {
  return (
    <div className={styles.waiting} aria-busy="true">
      <Bars />
      <Bars />
      <Bars />
    </div>
  );
}

function Bars(): ReactNode {
  return (
    <>
      <Skeleton width="38%" height={36} />
      <Skeleton width="24%" height={36} />
    </>
  );
}

function Failure({ onRetry }: { readonly onRetry: () => void }): ReactNode {
  const t = useText();
  return (
    <div className={styles.failure}>
      <p>{t("chat.loadFailed")}</p>
      <Button icon="retry" onClick={onRetry}>
        {t("retry")}
      </Button>
    </div>
  );
}

/** Counts the replies that are loaded, by the message on which their thread hangs. */
function repliesOf(rows: readonly Row[]): ReadonlyMap<bigint, number> {
  const counts = new Map<bigint, number>();
  for (const entry of rows) {
    const thread = entry.kind === "message" ? (entry.message.content?.thread ?? 0n) : 0n;
    if (thread !== 0n) counts.set(thread, (counts.get(thread) ?? 0) + 1);
  }
  return counts;
}

/** Guesses a height until the row is measured. */
function estimateOf(entry: Row): number {
  if (entry.kind === "start") return 120;
  if (entry.kind !== "message" && entry.kind !== "pending") return 40;
  const content = entry.kind === "message" ? entry.message.content : entry.queued.content;
  if (content?.image ?? content?.video) return 280;
  const length = content?.text?.text.length ?? 0;
  return 54 + 22 * Math.min(12, Math.floor(length / 60));
}

/** Moves the focus from message to message. */
function moveFocus(event: KeyboardEvent<HTMLElement>, rows: readonly Row[], pane: ReturnType<typeof usePane>): void {
  const from = (event.target as HTMLElement).dataset["message"];
  const step = { ArrowUp: -1, ArrowDown: 1, Home: -Infinity, End: Infinity }[event.key];
  if (from === undefined || step === undefined) return;
  event.preventDefault();
  const keys = rows.flatMap((entry) => (entry.kind === "message" && isBubble(entry.message) ? [entry.key] : []));
  const to = keys[Math.max(0, Math.min(keys.length - 1, keys.indexOf(from) + step))];
  if (to === undefined || to === from) return;
  pane.state.set({ current: to });
  const focus = (isLast: boolean): void => {
    const element = document.querySelector<HTMLElement>(`[data-message="${CSS.escape(to)}"]`);
    if (element) {
      element.focus({ preventScroll: true });
      element.scrollIntoView({ block: "nearest" });
    } else if (!isLast) {
      pane.list?.scrollTo(to, 0.4);
      requestAnimationFrame(() => focus(true));
    }
  };
  focus(false);
}
