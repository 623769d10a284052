import type { ReactNode } from "react";
import { Avatar, classes } from "../../design";
import { useText } from "../../text";
import { withoutControls } from "../richtext/bidi";
import styles from "./composer.module.css";
import type { Suggestion } from "./useCompletion";

/** The completions above the text. The focus stays in the text. */
export function Suggestions({ id, list, chosen, onChoose }: { readonly id: string; readonly list: readonly Suggestion[]; readonly chosen: number; readonly onChoose: (index: number) => void }): ReactNode {
  const t = useText();
  return (
    <ul id={id} role="listbox" aria-label={t("chat.completions")} className={styles.suggestions}>
      {list.map((suggestion, index) => (
        <li
          key={suggestion.id}
          id={`${id}-${index}`}
          role="option"
          aria-selected={index === chosen}
          className={classes(styles.suggestion, index === chosen && styles.chosen)}
          // The text keeps its focus and its caret.
          onPointerDown={(event) => event.preventDefault()}
          onClick={() => onChoose(index)}
        >
          {suggestion.user !== undefined && <Avatar id={suggestion.user || "*"} name={suggestion.label} file={suggestion.avatar} size={24} />}
          <bdi>{withoutControls(suggestion.label)}</bdi>
          <small>{suggestion.hint}</small>
        </li>
      ))}
    </ul>
  );
}
