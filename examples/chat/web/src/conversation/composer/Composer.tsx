import { lazy, Suspense, useCallback, useEffect, useId, useLayoutEffect, useMemo, useRef, useState, type ChangeEvent, type ClipboardEvent, type KeyboardEvent, type ReactNode } from "react";
import { IconButton } from "../../design";
import { useText } from "../../text";
import type { Pane, PaneState } from "../pane/Pane";
import { graphemeBefore, isEmoji } from "../richtext/emoji";
import { useStore } from "../store";
import { complete, tokenAt, type Token } from "./completion";
import styles from "./composer.module.css";
import { Composition, enterSends, sends } from "./keys";
import { Reference } from "./Reference";
import { Suggestions } from "./Suggestions";
import { Tray } from "./Tray";
import { useCompletion } from "./useCompletion";
import { useComposer } from "./useComposer";
import type { Attachments, Uploads } from "./uploads";

const EmojiPicker = lazy(() => import("../emoji/EmojiPicker"));
const VoiceRecorder = lazy(() => import("./VoiceRecorder"));

interface Props {
  readonly pane: Pane;
  readonly uploads: Uploads;
  /** The draft as the account has it; `undefined` until that is known. */
  readonly draft: string | undefined;
  /** The message on which the thread hangs that is written to. */
  readonly thread?: bigint;
}

/** Writes messages. */
export function Composer({ pane, uploads, draft, thread = 0n }: Props): ReactNode {
  const t = useText();
  const id = useId();
  const model = useComposer(pane, uploads, draft, thread);
  const { text } = model;
  const area = useRef<HTMLTextAreaElement>(null);
  const files = useRef<HTMLInputElement>(null);
  const composition = useMemo(() => new Composition(), []);
  const [token, setToken] = useState<Token>();
  const [chosen, setChosen] = useState(0);
  const [emojiAt, setEmojiAt] = useState<Element>();
  const [isRecording, setRecording] = useState(false);
  const suggestions = useCompletion(pane, token);
  const isMain = thread === 0n;

  useEffect(() => {
    if (!isMain) return;
    pane.composer = { focus: () => area.current?.focus() };
    return () => void (pane.composer = null);
  }, [pane, isMain]);

  // It grows with its text, up to what its style allows.
  useLayoutEffect(() => {
    const element = area.current;
    if (!element) return;
    element.style.height = "0";
    element.style.height = `${element.scrollHeight}px`;
  }, [text, isRecording]);

  const findToken = useCallback(() => {
    const element = area.current;
    const next = element && element.selectionStart === element.selectionEnd ? tokenAt(element.value, element.selectionStart) : undefined;
    setToken((before) => (before?.start === next?.start && before?.query === next?.query && before?.end === next?.end ? before : next));
    setChosen(0);
  }, []);

  const changed = (event: ChangeEvent<HTMLTextAreaElement>): void => {
    model.setText(event.target.value);
    findToken();
  };

  /** Replaces a part of the text as typing would, so that it can be undone. */
  const insert = (start: number, end: number, by: string): void => {
    const element = area.current;
    if (!element) return;
    element.focus();
    element.setSelectionRange(start, end);
    if (!document.execCommand("insertText", false, by)) model.setText(element.value.slice(0, start) + by + element.value.slice(end));
  };

  const choose = (index: number): void => {
    const suggestion = suggestions[index];
    if (!suggestion || !token) return;
    if (suggestion.user !== undefined) model.mention(suggestion.label, suggestion.user);
    const next = complete(text, token, suggestion.text);
    insert(token.start, token.end, next.text.slice(token.start, next.caret));
    setToken(undefined);
  };

  const completes = (event: KeyboardEvent): boolean => {
    if (suggestions.length === 0) return false;
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step !== undefined) setChosen((chosen + step + suggestions.length) % suggestions.length);
    else if ((event.key === "Enter" || event.key === "Tab") && !event.shiftKey) choose(chosen);
    else if (event.key === "Escape") setToken(undefined);
    else return false;
    return true;
  };

  const keyed = (event: KeyboardEvent<HTMLTextAreaElement>): void => {
    // What an input method takes is none of ours.
    if (composition.takes(event.nativeEvent, performance.now())) return;
    if (completes(event)) return event.preventDefault();
    if (sends(event.nativeEvent, enterSends())) {
      event.preventDefault();
      if (!event.repeat) model.send();
    } else if (event.key === "ArrowUp" && text === "" && isMain) {
      const last = pane.lastOwn();
      if (!last) return;
      event.preventDefault();
      pane.state.set({ editing: last, replyTo: undefined });
    } else if (event.key === "Escape" && model.cancel()) {
      event.preventDefault();
      event.stopPropagation();
    } else if (event.key === "Backspace") selectEmoji(event.currentTarget);
  };

  const pasted = (event: ClipboardEvent): void => {
    const { files: given, types } = event.clipboardData;
    // Programs that copy a table add a picture of it: the text is what is meant.
    if (given.length === 0 || types.includes("text/plain")) return;
    event.preventDefault();
    uploads.add(given);
  };

  const isEditing = useEditing(pane, isMain);
  if (isRecording) {
    return (
      <div className={styles.composer}>
        <Suspense>
          <VoiceRecorder pane={pane} thread={thread} onDone={() => setRecording(false)} />
        </Suspense>
      </div>
    );
  }
  return (
    <div className={styles.composer}>
      {token && suggestions.length > 0 && <Suggestions id={id} list={suggestions} chosen={chosen} onChoose={choose} />}
      {isMain && <Reference pane={pane} />}
      <Tray uploads={uploads} />
      <div className={styles.line}>
        {!isEditing && (
          <>
            <IconButton icon="attach" label={t("chat.attach")} onClick={() => files.current?.click()} />
            <input ref={files} type="file" multiple hidden onChange={({ target }) => (uploads.add(target.files ?? []), (target.value = ""))} />
          </>
        )}
        <textarea
          ref={area}
          className={styles.text}
          rows={1}
          dir="auto"
          value={text}
          placeholder={isMain ? t("chat.write") : t("chat.writeReply")}
          aria-label={isMain ? t("chat.write") : t("chat.writeReply")}
          aria-autocomplete="list"
          aria-controls={token && suggestions.length > 0 ? id : undefined}
          aria-activedescendant={token && suggestions.length > 0 ? `${id}-${chosen}` : undefined}
          enterKeyHint={enterSends() ? "send" : "enter"}
          autoCapitalize="sentences"
          autoFocus={isMain && matchMedia("(pointer: fine)").matches}
          onChange={changed}
          onKeyDown={keyed}
          onSelect={findToken}
          onBlur={() => setToken(undefined)}
          onPaste={pasted}
          onCompositionStart={() => composition.begin()}
          onCompositionEnd={() => composition.end(performance.now())}
        />
        <IconButton icon="emoji" label={t("chat.emoji")} aria-haspopup="dialog" onClick={({ currentTarget }) => setEmojiAt(currentTarget)} />
        <SendButton text={text} isEditing={isEditing} uploads={uploads} isTooLong={model.tooLong > 0} onSend={model.send} onRecord={() => setRecording(true)} />
      </div>
      {model.tooLong > 0 && (
        <p className={styles.error} role="alert">
          {t("chat.tooLong", { count: model.tooLong })}
        </p>
      )}
      {emojiAt && (
        <Suspense>
          <EmojiPicker
            anchor={emojiAt}
            onClose={() => setEmojiAt(undefined)}
            onPick={(emoji) => {
              setEmojiAt(undefined);
              insert(area.current?.selectionStart ?? text.length, area.current?.selectionEnd ?? text.length, emoji);
            }}
          />
        </Suspense>
      )}
    </div>
  );
}

const isEditingOf = (state: PaneState): boolean => state.editing !== undefined;
const hasFilesOf = (state: Attachments): boolean => state.list.length > 0;

function useEditing(pane: Pane, isMain: boolean): boolean {
  return useStore(pane.state, isEditingOf) && isMain;
}

function SendButton({ text, isEditing, uploads, isTooLong, onSend, onRecord }: { readonly text: string; readonly isEditing: boolean; readonly uploads: Uploads; readonly isTooLong: boolean; readonly onSend: () => void; readonly onRecord: () => void }): ReactNode {
  const t = useText();
  const hasFiles = useStore(uploads.state, hasFilesOf);
  const isEmpty = text.trim() === "" && !hasFiles;
  const canRecord = typeof MediaRecorder !== "undefined" && navigator.mediaDevices !== undefined;
  // The second press of a double click on "send" is none on the microphone that takes its place.
  if (isEmpty && !isEditing && canRecord) return <IconButton icon="mic" label={t("chat.record")} onClick={({ detail }) => detail < 2 && onRecord()} />;
  // The text keeps its focus, so that a keyboard on the screen stays.
  return <IconButton icon={isEditing ? "check" : "send"} kind="primary" label={isEditing ? t("chat.saveEdit") : t("chat.send")} disabled={isEmpty || isTooLong} onPointerDown={(event) => event.preventDefault()} onClick={onSend} />;
}

/** Selects an emoji of several characters before the caret, so that the key that follows deletes it whole, in each engine. */
function selectEmoji(area: HTMLTextAreaElement): void {
  const { selectionStart: caret, selectionEnd, value } = area;
  if (caret !== selectionEnd || caret === 0) return;
  const start = graphemeBefore(value, caret);
  if (caret - start > 1 && isEmoji(value.slice(start, caret))) area.setSelectionRange(start, caret);
}
