import type { proto, ReceivedMessage } from "@im-sdk/client";
import { useEffect, useRef, useState, type ReactNode } from "react";
import { Button, EmptyState, Skeleton, TextField } from "../../design";
import { useText } from "../../text";
import { usePane } from "../pane/context";
import { Hit } from "./Hit";
import styles from "./panels.module.css";

const PAUSE_MS = 250;
const PAGE = 30;

interface Found {
  readonly words: string;
  readonly messages: readonly ReceivedMessage[];
  readonly next: proto.Cursor | undefined;
  readonly error: boolean;
}

/** Finds messages of the conversation. */
export function SearchPanel(): ReactNode {
  const t = useText();
  const { client, conversation } = usePane();
  const [words, setWords] = useState("");
  const [found, setFound] = useState<Found>();
  const [isBusy, setBusy] = useState(false);
  const latest = useRef(0);

  const search = async (wanted: string, before: proto.Cursor | undefined, known: readonly ReceivedMessage[]): Promise<void> => {
    const turn = ++latest.current;
    setBusy(true);
    const answer = await client.search({ text: wanted, conversation, limit: PAGE, ...(before ? { before } : {}) }).catch(() => undefined);
    if (turn !== latest.current) return;
    setBusy(false);
    setFound({ words: wanted, messages: [...known, ...(answer?.messages ?? [])], next: answer?.next, error: answer === undefined });
  };

  const wanted = words.trim();
  useEffect(() => {
    if (wanted === "") {
      latest.current++;
      setFound(undefined);
      setBusy(false);
      return;
    }
    const timer = setTimeout(() => void search(wanted, undefined, []), PAUSE_MS);
    return () => clearTimeout(timer);
  }, [wanted]);

  return (
    <div className={styles.sideBody}>
      <TextField label={t("chat.search")} isLabelHidden icon="search" type="search" placeholder={t("chat.search")} value={words} autoFocus enterKeyHint="search" onChange={({ target }) => setWords(target.value)} />
      <div role="status" className={styles.hint}>
        {wanted === "" && t("chat.searchHint")}
        {wanted !== "" && found?.error && t("chat.searchFailed")}
      </div>
      {isBusy && !found && <Skeleton height={48} />}
      {found && !found.error && found.messages.length === 0 && !isBusy && <EmptyState icon="search" title={t("chat.nothingFound")} />}
      <ul className={styles.hits}>
        {found?.messages.map(({ id, from, content }) => (
          <Hit key={String(id)} id={id} from={from} content={content} found={found.words} />
        ))}
      </ul>
      {found?.next && (
        <Button isBusy={isBusy} onClick={() => void search(found.words, found.next, found.messages)}>
          {t("chat.loadMore")}
        </Button>
      )}
    </div>
  );
}
