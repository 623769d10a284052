import { useRef, useState, type FormEvent, type ReactNode } from "react";
import { errorText } from "../api";
import { Composition } from "../conversation/composer/keys";
import { IconButton, useToast } from "../design";
import { useText } from "../text";
import styles from "./RoomPane.module.css";
import type { RoomStore } from "./RoomStore";

const MAX_LENGTH = 500;

/** Writes to a room, and likes what happens there. */
export function RoomComposer({ store, isIn, onLike }: { readonly store: RoomStore; readonly isIn: boolean; readonly onLike: () => void }): ReactNode {
  const t = useText();
  const showToast = useToast();
  const [text, setText] = useState("");
  const [composition] = useState(() => new Composition());
  const input = useRef<HTMLInputElement>(null);
  const submit = (event: FormEvent): void => {
    event.preventDefault();
    const said = text.trim();
    if (!said || !isIn) return;
    setText("");
    store.pause(false);
    input.current?.focus();
    store.send(said).catch((error: unknown) => {
      setText((now) => now || said);
      showToast(errorText(error), { kind: "danger" });
    });
  };
  return (
    <form className={styles.composer} onSubmit={submit}>
      <input
        ref={input}
        value={text}
        maxLength={MAX_LENGTH}
        dir="auto"
        placeholder={t("room.say")}
        aria-label={t("room.message")}
        enterKeyHint="send"
        autoComplete="off"
        onChange={(event) => setText(event.target.value)}
        onCompositionStart={() => composition.begin()}
        onCompositionEnd={(event) => composition.end(event.timeStamp)}
        onKeyDown={(event) => {
          // The Enter of an input method must not submit.
          if (event.key === "Enter" && composition.takes(event.nativeEvent, event.timeStamp)) event.preventDefault();
        }}
      />
      <IconButton type="submit" icon="send" kind="primary" label={t("room.send")} disabled={!isIn || text.trim() === ""} />
      <IconButton icon="heart" className={styles.like} label={t("room.like")} disabled={!isIn} onClick={onLike} />
    </form>
  );
}
