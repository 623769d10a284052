import { useCallback, type ReactNode } from "react";
import { api, useMe, useResource, type Department, type User } from "../../api";
import { MenuButton } from "../../design";
import { useText } from "../../text";
import info from "../parts/Info.module.css";
import { PersonRow } from "../parts/PersonRow";
import { report } from "../people/actions";
import { pathOf } from "../routes";
import { ListSkeleton } from "../shell/Frame";
import { moveUser } from "./actions";

export function DepartmentPeople({ department, all, mayManage }: { readonly department: string; readonly all: readonly Department[]; readonly mayManage: boolean }): ReactNode {
  const t = useText();
  const me = useMe();
  const load = useCallback(async () => (await api.get<{ users: readonly User[] }>(`/api/departments/${encodeURIComponent(department)}/people`)).users, [department]);
  const { value: people } = useResource(`departments/${department}/people`, load);
  if (!people) return <ListSkeleton rows={2} />;
  if (people.length === 0) return <p className={info.faint}>{t("department.nobody")}</p>;
  return (
    <ul>
      {people.map(({ id, name, about, avatar }) => (
        <PersonRow key={id} id={id} name={name} avatar={avatar} note={about} {...(id !== me.id && { to: pathOf({ user: id }, undefined, true) })}>
          {mayManage && (
            <MenuButton
              icon="more"
              label={t("department.move", { name })}
              items={[
                ...all.map((one) => ({ label: one.name, isChecked: one.id === department, onSelect: () => report(moveUser(id, one.id)) })),
                undefined,
                { icon: "close", label: t("department.takeOut"), onSelect: () => report(moveUser(id, null)) },
              ]}
            />
          )}
        </PersonRow>
      ))}
    </ul>
  );
}
