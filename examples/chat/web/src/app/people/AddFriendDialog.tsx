import { useState, type ReactNode } from "react";
import { useFriends, useMe, type Group, type User } from "../../api";
import { Button, Dialog, EmptyState, TextField, useToast } from "../../design";
import { useText } from "../../text";
import { joinGroup } from "../groups/actions";
import { PersonRow } from "../parts/PersonRow";
import form from "../parts/Form.module.css";
import rows from "../parts/Rows.module.css";
import { navigate, pathOf } from "../routes";
import { ListSkeleton } from "../shell/Frame";
import { useSearch } from "../useSearch";
import { useSubmit } from "../useSubmit";
import { befriend, report } from "./actions";

/** Finds people and groups by id or name. */
export function AddFriendDialog({ onClose }: { readonly onClose: () => void }): ReactNode {
  const t = useText();
  const me = useMe();
  const [query, setQuery] = useState("");
  const [asking, setAsking] = useState<User>();
  const { value: found, isLoading } = useSearch(query);
  if (asking) return <AskDialog user={asking} onClose={onClose} />;
  const people = found?.people.filter(({ id, is_system }) => id !== me.id && !is_system) ?? [];
  const groups = found?.groups ?? [];
  return (
    <Dialog title={t("people.add")} closeLabel={t("close")} onClose={onClose}>
      <div className={form.form}>
        <TextField label={t("people.find")} isLabelHidden icon="search" placeholder={t("people.find")} value={query} onChange={(event) => setQuery(event.target.value)} autoFocus autoComplete="off" />
        {query.trim() !== "" && isLoading && !found && <ListSkeleton rows={3} />}
        <ul className={rows.rows}>
          {people.map((user) => (
            <FoundPerson key={user.id} user={user} onAsk={() => setAsking(user)} onClose={onClose} />
          ))}
          {groups.map((group) => (
            <FoundGroup key={group.id} group={group} onClose={onClose} />
          ))}
        </ul>
        {found && people.length + groups.length === 0 && <EmptyState icon="search" title={t("search.nothing")} text={t("people.findText")} />}
      </div>
    </Dialog>
  );
}

function FoundPerson({ user, onAsk, onClose }: { readonly user: User; readonly onAsk: () => void; readonly onClose: () => void }): ReactNode {
  const t = useText();
  const friends = useFriends();
  const isFriend = friends?.friends.some((friend) => friend.user.id === user.id);
  const request = friends?.requests.find((one) => one.user.id === user.id);
  const open = (): void => {
    onClose();
    navigate(pathOf({ user: user.id }));
  };
  return (
    <PersonRow id={user.id} name={user.name} avatar={user.avatar} note={user.id}>
      {isFriend ? (
        <Button onClick={open}>{t("people.message")}</Button>
      ) : request?.direction === "in" ? (
        <Button kind="primary" onClick={() => report(befriend(user.id))}>
          {t("people.accept")}
        </Button>
      ) : (
        <Button disabled={request !== undefined} onClick={onAsk}>
          {t(request ? "people.asked" : "people.ask")}
        </Button>
      )}
    </PersonRow>
  );
}

function FoundGroup({ group, onClose }: { readonly group: Group; readonly onClose: () => void }): ReactNode {
  const t = useText();
  const toast = useToast();
  const enter = async (): Promise<void> => {
    if (group.my_role === null && (await joinGroup(group)) === "asked") {
      toast(t("group.asked"), { kind: "ok" });
      return;
    }
    onClose();
    navigate(pathOf({ channel: group.id }));
  };
  return (
    <PersonRow id={group.id} name={group.name} avatar={group.avatar} note={t("group.memberCount", { count: group.member_count })}>
      <Button onClick={() => report(enter())}>{t(group.my_role ? "people.message" : "group.join")}</Button>
    </PersonRow>
  );
}

function AskDialog({ user, onClose }: { readonly user: User; readonly onClose: () => void }): ReactNode {
  const t = useText();
  const me = useMe();
  const toast = useToast();
  const [text, setText] = useState(t("people.askDefault", { name: me.name }));
  const { isBusy, error, submit } = useSubmit(async () => {
    const { state } = await befriend(user.id, text.trim());
    toast(t(state === "friends" ? "people.nowFriends" : "people.askSent", { name: user.name }), { kind: "ok" });
    onClose();
  });
  return (
    <Dialog title={t("people.askTitle", { name: user.name })} size="small" closeLabel={t("close")} onClose={onClose}>
      <form className={form.form} onSubmit={submit}>
        <TextField label={t("people.askText")} value={text} onChange={(event) => setText(event.target.value)} maxLength={200} error={error} autoFocus />
        <div className={form.actions}>
          <Button onClick={onClose}>{t("cancel")}</Button>
          <Button kind="primary" type="submit" isBusy={isBusy}>
            {t("people.ask")}
          </Button>
        </div>
      </form>
    </Dialog>
  );
}
