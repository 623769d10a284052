import type { QueuedMessage } from "@im-sdk/client";
import { memo, type ReactNode } from "react";
import { errorText } from "../../api";
import { Button, classes } from "../../design";
import { useText } from "../../text";
import { usePane, usePaneState } from "../pane/context";
import { Body } from "./Body";
import { QuoteBox } from "./QuoteBox";
import styles from "./row.module.css";
import { Status } from "./Status";

/** An own message that has not come back yet, or that failed. */
export const PendingRow = memo(function PendingRow({ rowKey, queued, isFirst, isLast }: { readonly rowKey: string; readonly queued: QueuedMessage; readonly isFirst: boolean; readonly isLast: boolean }): ReactNode {
  const t = useText();
  const pane = usePane();
  const isOpen = usePaneState((state) => state.opened.has(rowKey));
  const { content, localId, state } = queued;
  const isFailed = state === "failed";
  const act = (work: Promise<unknown>): void => void work.finally(() => void pane.window.refresh());
  return (
    <div className={classes(styles.message, styles.own, isFirst && styles.first, isLast && styles.last)}>
      <div className={styles.column}>
        <article className={classes(styles.bubble, isFailed ? styles.failed : styles.pending)} data-state={state}>
          <span className="visually-hidden">{t("chat.you")}: </span>
          {content.quote && <QuoteBox quote={content.quote} onJump={(id) => void pane.jumpTo({ id })} />}
          <Body content={content} me={pane.client.user} isOpen={isOpen} onOpen={() => pane.toggle("opened", rowKey, true)} tail={<Status at={undefined} status={isFailed ? "failed" : "pending"} />} onView={() => {}} onPlaying={() => {}} />
        </article>
        {isFailed && (
          <div className={styles.failure} role="alert">
            <span>{errorText(queued.error)}</span>
            <Button kind="quiet" onClick={() => act(pane.client.retry(localId))}>
              {t("retry")}
            </Button>
            <Button kind="quiet" onClick={() => act(pane.client.discard(localId))}>
              {t("chat.discard")}
            </Button>
          </div>
        )}
      </div>
    </div>
  );
});
