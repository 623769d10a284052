import type { ReactionGroup } from "@im-sdk/client";
import type { ReactNode } from "react";
import { classes } from "../../design";
import { useText } from "../../text";
import { useNames } from "../names";
import styles from "./row.module.css";

const MOST_NAMES = 12;

/** The reactions below a message; pressing one joins in or takes it back. */
export function Reactions({ groups, me, onReact }: { readonly groups: readonly ReactionGroup[]; readonly me: string; readonly onReact: (emoji: string, removed: boolean) => void }): ReactNode {
  if (groups.length === 0) return null;
  return (
    <ul className={styles["reactions"]}>
      {groups.map((group) => (
        <Reaction key={group.emoji} group={group} me={me} onReact={onReact} />
      ))}
    </ul>
  );
}

function Reaction({ group: { emoji, users }, me, onReact }: { readonly group: ReactionGroup; readonly me: string; readonly onReact: (emoji: string, removed: boolean) => void }): ReactNode {
  const t = useText();
  const named = users.flatMap((user) => user ?? []).slice(0, MOST_NAMES);
  const nameOf = useNames(named);
  const isOwn = users.includes(me);
  const names = named.map((user) => (user === me ? t("chat.you") : nameOf(user))).join(t("chat.listComma"));
  const rest = users.length - named.length;
  const label = t("chat.reactedBy", { emoji, count: users.length, names: rest > 0 ? `${names} +${rest}` : names });
  return (
    <li>
      <button type="button" className={classes(styles["reaction"], isOwn && styles["ownReaction"])} aria-pressed={isOwn} aria-label={label} title={label} onClick={() => onReact(emoji, isOwn)}>
        {emoji} {users.length}
      </button>
    </li>
  );
}
