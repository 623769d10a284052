import { usePresence } from "@im-sdk/client/react";
import { useState, type ReactNode } from "react";
import { useDepartments, useFriends, useMe, useUser, type User } from "../../api";
import { Avatar, Button } from "../../design";
import { formatWhen, useText } from "../../text";
import { Confirm } from "../parts/Confirm";
import { EditLine } from "../parts/EditLine";
import { befriend, block, refuse, report, setRemark, unblock, unfriend } from "../people/actions";
import { navigate } from "../routes";
import { ConversationSwitches } from "./ConversationSwitches";
import styles from "../parts/Info.module.css";

export function UserInfo({ id }: { readonly id: string }): ReactNode {
  const t = useText();
  const me = useMe();
  const user = useUser(id);
  const friend = useFriends()?.friends.find((one) => one.user.id === id);
  const department = useDepartments().value?.find((one) => one.id === user?.department);
  const name = friend?.remark || user?.name || id;
  return (
    <>
      <section className={styles.face}>
        <Avatar id={id} name={name} file={user?.avatar} size={88} />
        <h3>
          <bdi>{name}</bdi>
        </h3>
        <p className={styles.faint}>{friend?.remark ? `${user?.name} · ${id}` : id}</p>
        <LastSeen id={id} />
        {user?.about && <p className={styles.text}>{user.about}</p>}
        {department && <p className={styles.faint}>{department.name}</p>}
      </section>
      {id === me.id ? (
        <Button icon="edit" onClick={() => navigate("/settings/profile")}>
          {t("settings.profile")}
        </Button>
      ) : (
        <>
          {friend && (
            <section>
              <h3>{t("people.remark")}</h3>
              <EditLine label={t("people.remark")} value={friend.remark} placeholder={t("people.remarkEmpty")} maxLength={64} onSave={(remark) => setRemark(id, remark)} />
            </section>
          )}
          <ConversationSwitches conversation={{ user: id }} />
          {user && !user.is_system && <Relation user={user} />}
        </>
      )}
    </>
  );
}

function LastSeen({ id }: { readonly id: string }): ReactNode {
  const t = useText();
  const terminals = usePresence([id]).get(id)?.terminals ?? [];
  if (terminals.some(({ online }) => online)) return <p className={styles.faint}>{t("presence.online")}</p>;
  const last = Math.max(0, ...terminals.map(({ lastSeenMs }) => lastSeenMs));
  return last > 0 && <p className={styles.faint}>{t("presence.lastSeen", { when: formatWhen(last) })}</p>;
}

/** Friendship and blocking, as they are and as they can become. */
function Relation({ user: { id, name } }: { readonly user: User }): ReactNode {
  const t = useText();
  const friends = useFriends();
  const [asked, setAsked] = useState<"unfriend" | "block">();
  if (!friends) return null;
  const isFriend = friends.friends.some(({ user }) => user.id === id);
  const isBlocked = friends.blocked.some((user) => user.id === id);
  const request = friends.requests.find(({ user }) => user.id === id);
  return (
    <section>
      {!isFriend && !isBlocked && request?.direction === "in" && (
        <div className={styles.buttons}>
          <Button onClick={() => report(refuse(id))}>{t("people.refuse")}</Button>
          <Button kind="primary" onClick={() => report(befriend(id))}>
            {t("people.accept")}
          </Button>
        </div>
      )}
      {!isFriend && !isBlocked && request?.direction !== "in" && (
        <Button kind="primary" icon="user-plus" disabled={request !== undefined} onClick={() => report(befriend(id))}>
          {t(request ? "people.asked" : "people.ask")}
        </Button>
      )}
      {isFriend && (
        <Button kind="danger" onClick={() => setAsked("unfriend")}>
          {t("people.unfriend")}
        </Button>
      )}
      {isBlocked ? (
        <Button icon="block" onClick={() => report(unblock(id))}>
          {t("people.unblock")}
        </Button>
      ) : (
        <Button kind="danger" icon="block" onClick={() => setAsked("block")}>
          {t("people.block")}
        </Button>
      )}
      {asked === "unfriend" && <Confirm title={t("people.unfriendTitle", { name })} text={t("people.unfriendText")} action={t("people.unfriend")} onConfirm={() => unfriend(id)} onClose={() => setAsked(undefined)} />}
      {asked === "block" && <Confirm title={t("people.blockTitle", { name })} text={t("people.blockText")} action={t("people.block")} onConfirm={() => block(id)} onClose={() => setAsked(undefined)} />}
    </section>
  );
}
