import { useState, type ReactNode } from "react";
import { useFriends } from "../../api";
import { Avatar, EmptyState, Icon, TextField } from "../../design";
import { useText } from "../../text";
import { ListSkeleton } from "../shell/Frame";
import styles from "./PeoplePicker.module.css";

export interface PeoplePickerProps {
  readonly chosen: ReadonlySet<string>;
  readonly onChange: (chosen: ReadonlySet<string>) => void;
  /** Who is there already, and cannot be chosen. */
  readonly present?: ReadonlySet<string>;
}

/** Chooses among the friends. */
export function PeoplePicker({ chosen, onChange, present }: PeoplePickerProps): ReactNode {
  const t = useText();
  const friends = useFriends()?.friends;
  const [query, setQuery] = useState("");
  if (!friends) return <ListSkeleton rows={4} />;
  const toggle = (id: string): void => {
    const next = new Set(chosen);
    if (!next.delete(id)) next.add(id);
    onChange(next);
  };
  const wanted = query.trim().toLocaleLowerCase();
  const shown = friends.filter(({ user, remark }) => [user.name, user.id, remark].some((text) => text.toLocaleLowerCase().includes(wanted)));
  return (
    <div className={styles.picker}>
      <TextField label={t("people.filter")} isLabelHidden icon="search" placeholder={t("people.filter")} value={query} onChange={(event) => setQuery(event.target.value)} />
      <ul>
        {shown.map(({ user, remark }) => {
          const isPresent = present?.has(user.id) ?? false;
          return (
            <li key={user.id}>
              <label className={styles.option}>
                <input type="checkbox" checked={isPresent || chosen.has(user.id)} disabled={isPresent} onChange={() => toggle(user.id)} />
                <span className={styles.box}>
                  <Icon name="check" size={14} />
                </span>
                <Avatar id={user.id} name={remark || user.name} file={user.avatar} size={36} />
                <bdi>{remark || user.name}</bdi>
                {isPresent && <small>{t("group.present")}</small>}
              </label>
            </li>
          );
        })}
      </ul>
      {shown.length === 0 && <EmptyState icon="people" title={t(friends.length === 0 ? "people.noFriends" : "search.nothing")} />}
    </div>
  );
}
