import { useState, type ReactNode } from "react";
import { useFriends, useMay, useMe, type Group, type Member } from "../../api";
import { Button, Icon, IconButton, Menu, TextField, type Anchor } from "../../design";
import { formatDateTime, useText } from "../../text";
import { Confirm } from "../parts/Confirm";
import styles from "../parts/Info.module.css";
import { PersonRow } from "../parts/PersonRow";
import rows from "../parts/Rows.module.css";
import { pathOf } from "../routes";
import { ListSkeleton } from "../shell/Frame";
import { useSettled } from "../useSearch";
import { removeMember, transfer } from "./actions";
import { InviteDialog } from "./InviteDialog";
import { useMemberMenu } from "./useMemberMenu";
import { useMembers } from "./useMembers";

/** The fewest members among whom a search is worth its room. */
const SEARCHED = 8;

export function MemberList({ group }: { readonly group: Group }): ReactNode {
  const t = useText();
  const may = useMay(group);
  const [query, setQuery] = useState("");
  const { members, hasMore, loadMore } = useMembers(group.id, useSettled(query.trim()));
  const [isInviting, setInviting] = useState(false);
  const [opened, setOpened] = useState<{ readonly member: Member; readonly anchor: Anchor }>();
  const [asked, setAsked] = useState<{ readonly member: Member; readonly what: "kick" | "transfer" }>();
  return (
    <section>
      <div className={styles.line}>
        <h3>{t("group.members")}</h3>
        {may("invite") && (
          <Button kind="quiet" icon="user-plus" onClick={() => setInviting(true)}>
            {t("group.invite")}
          </Button>
        )}
      </div>
      {group.member_count >= SEARCHED && <TextField label={t("group.findMember")} isLabelHidden icon="search" placeholder={t("group.findMember")} value={query} onChange={(event) => setQuery(event.target.value)} />}
      {members ? (
        <ul className={rows.rows}>
          {members.map((member) => (
            <MemberRow key={member.user.id} member={member} group={group} onMenu={(anchor) => setOpened({ member, anchor })} />
          ))}
        </ul>
      ) : (
        <ListSkeleton rows={4} />
      )}
      {hasMore && <Button onClick={loadMore}>{t("more")}</Button>}
      {isInviting && <InviteDialog group={group} present={new Set(members?.map(({ user }) => user.id))} onClose={() => setInviting(false)} />}
      {opened && <MemberMenu {...opened} group={group} onClose={() => setOpened(undefined)} onAsk={(what) => setAsked({ member: opened.member, what })} />}
      {asked?.what === "kick" && (
        <Confirm
          title={t("group.kickTitle", { name: asked.member.user.name })}
          text={t("group.kickText")}
          action={t("group.kick")}
          onConfirm={() => removeMember(group.id, asked.member.user.id)}
          onClose={() => setAsked(undefined)}
        />
      )}
      {asked?.what === "transfer" && (
        <Confirm
          title={t("group.transferTitle", { name: asked.member.user.name })}
          text={t("group.transferText")}
          action={t("group.transfer")}
          onConfirm={() => transfer(group.id, asked.member.user.id)}
          onClose={() => setAsked(undefined)}
        />
      )}
    </section>
  );
}

function MemberRow({ member: { user, nickname, role, muted_until_at }, group, onMenu }: { readonly member: Member; readonly group: Group; readonly onMenu: (anchor: Anchor) => void }): ReactNode {
  const t = useText();
  const me = useMe();
  const remark = useFriends()?.friends.find((friend) => friend.user.id === user.id)?.remark;
  const isMuted = muted_until_at !== null && muted_until_at > Date.now();
  const name = remark || nickname || user.name;
  return (
    <PersonRow id={user.id} name={name} avatar={user.avatar} note={name === user.name ? undefined : user.name} {...(user.id !== me.id && { to: pathOf({ user: user.id }, undefined, true) })}>
      <span className={styles.line}>
        {isMuted && (
          <span title={t("group.mutedUntil", { when: formatDateTime(muted_until_at) })}>
            <Icon name="volume-off" size={16} label={t("group.muted")} />
          </span>
        )}
        {role !== "member" && <span className={rows.chip}>{t(role === "owner" ? "role.owner" : "role.admin")}</span>}
        {user.id !== me.id && group.my_role && group.my_role !== "member" && (
          <IconButton icon="more" label={t("group.memberActions", { name })} aria-haspopup="menu" onClick={(event) => onMenu(event.currentTarget)} />
        )}
      </span>
    </PersonRow>
  );
}

function MemberMenu({ member, group, anchor, onClose, onAsk }: { readonly member: Member; readonly group: Group; readonly anchor: Anchor; readonly onClose: () => void; readonly onAsk: (what: "kick" | "transfer") => void }): ReactNode {
  const t = useText();
  const items = useMemberMenu(group, member, onAsk);
  return <Menu label={t("group.memberActions", { name: member.user.name })} anchor={anchor} align="end" items={items} onClose={onClose} />;
}
