import { useState, type ReactNode } from "react";
import { useGroup, useMay, useMe, type Group } from "../../api";
import { Avatar, Button, Skeleton } from "../../design";
import { useText } from "../../text";
import { ConversationSwitches } from "../info/ConversationSwitches";
import { AvatarButton } from "../parts/AvatarButton";
import { Confirm } from "../parts/Confirm";
import { EditLine } from "../parts/EditLine";
import styles from "../parts/Info.module.css";
import { navigate } from "../routes";
import { dissolve, removeMember, updateGroup, updateMine } from "./actions";
import { GroupSettings } from "./GroupSettings";
import { JoinRequests } from "./JoinRequests";
import { MemberList } from "./MemberList";

/** The panel about a group. What the user may not do is not there. */
export function GroupInfo({ id }: { readonly id: string }): ReactNode {
  const t = useText();
  const group = useGroup(id);
  const may = useMay(group);
  if (!group) {
    return (
      <div className={styles.face}>
        <Skeleton width={88} height={88} isRound />
        <Skeleton width="50%" height={20} />
      </div>
    );
  }
  return (
    <>
      <section className={styles.face}>
        {may("rename") ? (
          <AvatarButton id={id} name={group.name} file={group.avatar} onChange={(avatar) => updateGroup(id, { avatar })} />
        ) : (
          <Avatar id={id} name={group.name} file={group.avatar} size={88} />
        )}
        <h3>
          <bdi>{group.my_remark || group.name}</bdi>
        </h3>
        <p className={styles.faint}>{t("group.memberCount", { count: group.member_count })}</p>
      </section>
      <section>
        <h3>{t("group.name")}</h3>
        <EditLine label={t("group.name")} value={group.name} placeholder="" maxLength={64} isRequired onSave={may("rename") ? (name) => updateGroup(id, { name }) : undefined} />
        <h3>{t("group.announcement")}</h3>
        <EditLine
          label={t("group.announcement")}
          value={group.announcement}
          placeholder={t("group.noAnnouncement")}
          maxLength={2000}
          isLong
          onSave={may("announce") ? (announcement) => updateGroup(id, { announcement }) : undefined}
        />
      </section>
      {may("kick") && <JoinRequests group={id} />}
      <MemberList group={group} />
      {group.my_role && (
        <>
          <section>
            <h3>{t("group.myNickname")}</h3>
            <EditLine label={t("group.myNickname")} value={group.my_nickname} placeholder={t("group.noNickname")} maxLength={64} onSave={(nickname) => updateMine(id, { nickname })} />
            <h3>{t("group.myRemark")}</h3>
            <EditLine label={t("group.myRemark")} value={group.my_remark} placeholder={t("group.noRemark")} maxLength={64} onSave={(remark) => updateMine(id, { remark })} />
          </section>
          <ConversationSwitches conversation={{ channel: id }} />
          <GroupSettings group={group} />
          <Leaving group={group} />
        </>
      )}
    </>
  );
}

function Leaving({ group: { id, name, my_role, department } }: { readonly group: Group }): ReactNode {
  const t = useText();
  const me = useMe();
  const [asked, setAsked] = useState<"leave" | "dissolve">();
  // Who works in a department is in its group.
  if (department !== null) return null;
  const gone = (work: Promise<unknown>): Promise<void> => work.then(() => navigate("/", { replace: true }));
  return (
    <section>
      {my_role === "owner" ? (
        <Button kind="danger" icon="trash" onClick={() => setAsked("dissolve")}>
          {t("group.dissolve")}
        </Button>
      ) : (
        <Button kind="danger" icon="sign-out" onClick={() => setAsked("leave")}>
          {t("group.leave")}
        </Button>
      )}
      {asked === "leave" && <Confirm title={t("group.leaveTitle", { name })} text={t("group.leaveText")} action={t("group.leave")} onConfirm={() => gone(removeMember(id, me.id))} onClose={() => setAsked(undefined)} />}
      {asked === "dissolve" && <Confirm title={t("group.dissolveTitle", { name })} text={t("group.dissolveText")} action={t("group.dissolve")} onConfirm={() => gone(dissolve(id))} onClose={() => setAsked(undefined)} />}
    </section>
  );
}
