import { usePresence } from "@im-sdk/client/react";
import { useState, type ReactNode } from "react";
import { useFriends, type Friend } from "../../api";
import { Button, EmptyState, IconButton, TextField } from "../../design";
import { useLanguage, useText } from "../../text";
import { PersonRow } from "../parts/PersonRow";
import rows from "../parts/Rows.module.css";
import { navigate, pathOf } from "../routes";
import { openDialog } from "../shell/dialogs";
import { ListSkeleton } from "../shell/Frame";

const callName = ({ user, remark }: Friend): string => remark || user.name;

export function FriendsTab(): ReactNode {
  const t = useText();
  const language = useLanguage();
  const friends = useFriends()?.friends;
  const [query, setQuery] = useState("");
  const presence = usePresence(friends?.map(({ user }) => user.id) ?? []);
  if (!friends) return <ListSkeleton />;
  if (friends.length === 0) {
    return (
      <EmptyState icon="people" title={t("people.noFriends")} text={t("people.noFriendsText")}>
        <Button kind="primary" icon="user-plus" onClick={() => openDialog("add-friend")}>
          {t("people.add")}
        </Button>
      </EmptyState>
    );
  }
  const wanted = query.trim().toLocaleLowerCase();
  const shown = friends
    .filter((friend) => [callName(friend), friend.user.name, friend.user.id].some((text) => text.toLocaleLowerCase().includes(wanted)))
    .sort((one, other) => callName(one).localeCompare(callName(other), language));
  return (
    <>
      <TextField label={t("people.filter")} isLabelHidden icon="search" placeholder={t("people.filter")} value={query} onChange={(event) => setQuery(event.target.value)} />
      <ul className={rows.rows}>
        {shown.map((friend) => {
          const { user, remark } = friend;
          const isOnline = presence.get(user.id)?.terminals.some(({ online }) => online);
          return (
            <PersonRow key={user.id} id={user.id} name={callName(friend)} avatar={user.avatar} presence={isOnline ? "online" : "offline"} note={remark ? user.name : user.about} to={pathOf({ user: user.id })}>
              <IconButton icon="info" label={t("info.of", { name: callName(friend) })} onClick={() => navigate(pathOf({ user: user.id }, undefined, true))} />
            </PersonRow>
          );
        })}
      </ul>
      {shown.length === 0 && <EmptyState icon="search" title={t("search.nothing")} />}
    </>
  );
}
