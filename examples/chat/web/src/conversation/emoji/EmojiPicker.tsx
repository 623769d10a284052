import { useState, type KeyboardEvent, type ReactNode } from "react";
import { Popover, TextField, type Anchor } from "../../design";
import { useText } from "../../text";
import { emojiGroups, findEmoji, type Emoji } from "./data";
import styles from "./emoji.module.css";

const COLUMNS = 8;
const RECENT = "emoji/recent";
const MOST_RECENT = 16;

/** All emoji, with search. Loaded when it is first opened. */
export default function EmojiPicker({ anchor, onPick, onClose }: { readonly anchor: Anchor; readonly onPick: (emoji: string) => void; readonly onClose: () => void }): ReactNode {
  const t = useText();
  const [query, setQuery] = useState("");
  const titles = { smileys: t("chat.emojiSmileys"), gestures: t("chat.emojiGestures"), hearts: t("chat.emojiHearts"), nature: t("chat.emojiNature"), food: t("chat.emojiFood"), things: t("chat.emojiThings") };
  const found = query.trim() === "" ? undefined : findEmoji(query.trim(), 64);
  const recent = recentEmoji();
  const pick = (emoji: string): void => {
    remember(emoji);
    onPick(emoji);
  };
  const enter = (event: KeyboardEvent<HTMLInputElement>): void => {
    if (event.nativeEvent.isComposing || event.nativeEvent.keyCode === 229) return;
    if (event.key === "Enter" && found?.[0]) pick(found[0].emoji);
    if (event.key === "ArrowDown") event.currentTarget.closest("[data-picker]")?.querySelector<HTMLElement>("button")?.focus();
  };
  return (
    <Popover anchor={anchor} onClose={onClose} label={t("chat.emoji")}>
      <div className={styles.picker} data-picker>
        <TextField label={t("chat.searchEmoji")} isLabelHidden placeholder={t("chat.searchEmoji")} icon="search" value={query} autoFocus data-autofocus onChange={({ target }) => setQuery(target.value)} onKeyDown={enter} />
        <div className={styles.groups} onKeyDown={moveInGrid}>
          {found ? (
            <Grid title={found.length > 0 ? t("chat.found") : t("chat.noEmoji")} list={found} onPick={pick} />
          ) : (
            <>
              {recent.length > 0 && <Grid title={t("chat.emojiRecent")} list={recent.map((emoji) => ({ emoji, words: [] }))} onPick={pick} />}
              {emojiGroups.map(([group, list]) => (
                <Grid key={group} title={titles[group]} list={list} onPick={pick} />
              ))}
            </>
          )}
        </div>
      </div>
    </Popover>
  );
}

function Grid({ title, list, onPick }: { readonly title: string; readonly list: readonly Emoji[]; readonly onPick: (emoji: string) => void }): ReactNode {
  return (
    <section aria-label={title}>
      <p className={styles.title} aria-hidden>{title}</p>
      <div className={styles.grid}>
        {list.map(({ emoji, words }) => (
          <button key={emoji} type="button" className={styles.emoji} aria-label={`${emoji} ${words.slice(0, 3).join(" ")}`} onClick={() => onPick(emoji)}>
            {emoji}
          </button>
        ))}
      </div>
    </section>
  );
}

function moveInGrid(event: KeyboardEvent<HTMLElement>): void {
  const steps: Record<string, number> = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: COLUMNS, ArrowUp: -COLUMNS };
  const step = steps[event.key];
  if (step === undefined) return;
  event.preventDefault();
  const all = [...event.currentTarget.querySelectorAll<HTMLElement>("button")];
  all[all.indexOf(document.activeElement as HTMLElement) + step]?.focus();
}

function recentEmoji(): string[] {
  try {
    const kept = JSON.parse(localStorage.getItem(RECENT) ?? "[]") as unknown;
    return Array.isArray(kept) ? kept.filter((emoji): emoji is string => typeof emoji === "string") : [];
  } catch {
    return [];
  }
}

function remember(emoji: string): void {
  localStorage.setItem(RECENT, JSON.stringify([emoji, ...recentEmoji().filter((other) => other !== emoji)].slice(0, MOST_RECENT)));
}
