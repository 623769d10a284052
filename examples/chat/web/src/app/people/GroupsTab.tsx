import type { ReactNode } from "react";
import { errorText, useGroups } from "../../api";
import { Button, EmptyState } from "../../design";
import { useText } from "../../text";
import { PersonRow } from "../parts/PersonRow";
import rows from "../parts/Rows.module.css";
import { pathOf } from "../routes";
import { openDialog } from "../shell/dialogs";
import { ListSkeleton } from "../shell/Frame";

export function GroupsTab(): ReactNode {
  const t = useText();
  const { value: groups, error } = useGroups();
  if (!groups) return error ? <EmptyState icon="offline" title={t("list.failed")} text={errorText(error)} /> : <ListSkeleton />;
  if (groups.length === 0) {
    return (
      <EmptyState icon="people" title={t("people.noGroups")} text={t("people.noGroupsText")}>
        <Button kind="primary" icon="plus" onClick={() => openDialog("create-group")}>
          {t("group.create")}
        </Button>
      </EmptyState>
    );
  }
  return (
    <ul className={rows.rows}>
      {groups.map(({ id, name, my_remark, avatar, member_count, my_role }) => (
        <PersonRow key={id} id={id} name={my_remark || name} avatar={avatar} note={t("group.memberCount", { count: member_count })} to={pathOf({ channel: id })}>
          {my_role && my_role !== "member" && <span className={rows.chip}>{t(my_role === "owner" ? "role.owner" : "role.admin")}</span>}
        </PersonRow>
      ))}
    </ul>
  );
}
