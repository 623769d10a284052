import { Fragment, useId, useState, type KeyboardEvent, type ReactNode } from "react";
import { Avatar, Dialog, EmptyState, Icon, Spinner } from "../../design";
import { useText } from "../../text";
import { navigate } from "../routes";
import { useSwitcherEntries, type SwitcherEntry } from "./entries";
import styles from "./Switcher.module.css";

/** Goes to a conversation, a person, a group or a message by some letters of it. */
export function Switcher({ onClose }: { readonly onClose: () => void }): ReactNode {
  const t = useText();
  const id = useId();
  const [text, setText] = useState("");
  const [at, setAt] = useState(0);
  const { entries, isLoading } = useSwitcherEntries(text);
  const active = Math.min(at, Math.max(0, entries.length - 1));
  const choose = (entry: SwitcherEntry | undefined): void => {
    if (!entry) return;
    onClose();
    navigate(entry.path);
  };
  const press = (event: KeyboardEvent): void => {
    if (event.nativeEvent.isComposing || event.keyCode === 229) return;
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step !== undefined && entries.length > 0) {
      event.preventDefault();
      const next = (active + step + entries.length) % entries.length;
      setAt(next);
      document.getElementById(`${id}-${next}`)?.scrollIntoView({ block: "nearest" });
    } else if (event.key === "Enter") {
      event.preventDefault();
      choose(entries[active]);
    }
  };
  return (
    <Dialog title={t("switcher.title")} closeLabel={t("close")} onClose={onClose} isBare>
      <div className={styles.input}>
        <Icon name="search" />
        <input
          role="combobox"
          aria-expanded="true"
          aria-controls={`${id}-list`}
          aria-activedescendant={entries.length > 0 ? `${id}-${active}` : undefined}
          aria-autocomplete="list"
          aria-label={t("switcher.title")}
          placeholder={t("switcher.placeholder")}
          autoComplete="off"
          spellCheck={false}
          autoFocus
          value={text}
          onChange={(event) => {
            setText(event.target.value);
            setAt(0);
          }}
          onKeyDown={press}
        />
        {isLoading && <Spinner size={18} />}
      </div>
      <div id={`${id}-list`} role="listbox" aria-label={t("switcher.results")} className={styles.list}>
        {entries.map((entry, index) => (
          <Fragment key={entry.key}>
            {entry.section !== entries[index - 1]?.section && (
              <div role="presentation" className={styles.section}>
                {t(`switcher.${entry.section}`)}
              </div>
            )}
            <div
              id={`${id}-${index}`}
              role="option"
              aria-selected={index === active}
              className={styles.entry}
              onPointerMove={() => setAt(index)}
              onClick={() => choose(entry)}
            >
              <Avatar id={entry.id} name={entry.name} file={entry.avatar} size={36} />
              <span className={styles.text}>
                <bdi>{entry.name}</bdi>
                {entry.note && <small dir="auto">{entry.note}</small>}
              </span>
            </div>
          </Fragment>
        ))}
      </div>
      {entries.length === 0 && !isLoading && <EmptyState icon="search" title={t("search.nothing")} />}
    </Dialog>
  );
}
