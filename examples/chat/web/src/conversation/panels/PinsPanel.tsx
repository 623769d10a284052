import { useEffect, useState, useSyncExternalStore, type ReactNode } from "react";
import { EmptyState, Skeleton } from "../../design";
import { useText } from "../../text";
import { usePane } from "../pane/context";
import type { MessageView } from "../window/entries";
import { Hit } from "./Hit";
import styles from "./panels.module.css";
import { loadPins } from "./pins";

/** The messages that are kept in view for everybody. */
export function PinsPanel(): ReactNode {
  const t = useText();
  const pane = usePane();
  const [loaded, setLoaded] = useState<readonly MessageView[]>();
  const { messages } = useSyncExternalStore(pane.window.subscribe, pane.window.getSnapshot);
  useEffect(() => {
    let isOver = false;
    void loadPins(pane.client, pane.conversation).then((pins) => !isOver && setLoaded(pins), () => !isOver && setLoaded([]));
    return () => void (isOver = true);
  }, [pane]);
  // What is loaded in the conversation is newer than what was found.
  const shown = new Map(messages.map((message) => [message.id, message]));
  const known = new Set(loaded?.map(({ id }) => id));
  const added = loaded ? messages.filter(({ id, isPinned }) => isPinned && !known.has(id)).reverse() : [];
  const pins = [...added, ...(loaded ?? [])].map((message) => shown.get(message.id) ?? message).filter(({ isPinned, recalled }) => isPinned && !recalled);
  return (
    <div className={styles.sideBody}>
      {!loaded && <Skeleton height={48} />}
      {loaded && pins.length === 0 && <EmptyState icon="pin" title={t("chat.noPins")} text={t("chat.noPinsHint")} />}
      <ul className={styles.hits}>
        {pins.map(({ id, from, content }) => (
          <Hit key={String(id)} id={id} from={from} content={content} />
        ))}
      </ul>
    </div>
  );
}
