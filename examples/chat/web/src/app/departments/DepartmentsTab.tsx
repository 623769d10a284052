import { useState, type ReactNode } from "react";
import { errorText, useDepartments, useMe, type Department } from "../../api";
import { Button, EmptyState, Icon, MenuButton } from "../../design";
import { useText } from "../../text";
import { Confirm } from "../parts/Confirm";
import { Page } from "../parts/Page";
import { navigate, pathOf } from "../routes";
import { ListSkeleton } from "../shell/Frame";
import { removeDepartment } from "./actions";
import { DepartmentDialog, type DepartmentDraft } from "./DepartmentDialog";
import { DepartmentPeople } from "./DepartmentPeople";
import styles from "./Departments.module.css";

/** The departments as a tree, each with its people and its group. */
export function DepartmentsTab(): ReactNode {
  const t = useText();
  const mayManage = useMe().permissions.includes("departments.manage");
  const { value: departments, error } = useDepartments();
  const [draft, setDraft] = useState<DepartmentDraft>();
  const [removed, setRemoved] = useState<Department>();
  const isTop = ({ parent }: Department): boolean => parent === null || !departments?.some(({ id }) => id === parent);
  return (
    <Page
      title={t("people.departments")}
      backTo="/people"
      actions={
        mayManage && (
          <Button icon="plus" onClick={() => setDraft({ name: "", parent: null })}>
            {t("department.create")}
          </Button>
        )
      }
    >
      {!departments ? (
        error ? (
          <EmptyState icon="offline" title={t("list.failed")} text={errorText(error)} />
        ) : (
          <ListSkeleton />
        )
      ) : departments.length === 0 ? (
        <EmptyState icon="building" title={t("department.none")} />
      ) : (
        <ul className={styles.tree}>
          {departments.filter(isTop).map((department) => (
            <Branch key={department.id} department={department} all={departments} mayManage={mayManage} onEdit={setDraft} onRemove={setRemoved} />
          ))}
        </ul>
      )}
      {draft && <DepartmentDialog draft={draft} departments={departments ?? []} onClose={() => setDraft(undefined)} />}
      {removed && (
        <Confirm
          title={t("department.removeTitle", { name: removed.name })}
          text={t("department.removeText")}
          action={t("department.remove")}
          onConfirm={() => removeDepartment(removed.id)}
          onClose={() => setRemoved(undefined)}
        />
      )}
    </Page>
  );
}

interface BranchProps {
  readonly department: Department;
  readonly all: readonly Department[];
  readonly mayManage: boolean;
  readonly onEdit: (draft: DepartmentDraft) => void;
  readonly onRemove: (department: Department) => void;
}

function Branch({ department, all, mayManage, onEdit, onRemove }: BranchProps): ReactNode {
  const t = useText();
  const me = useMe();
  const [isOpen, setOpen] = useState(department.parent === null);
  const [showsPeople, setShowsPeople] = useState(false);
  const { id, name, parent, group, people } = department;
  const children = all.filter((one) => one.parent === id);
  return (
    <li>
      <div className={styles.branch}>
        <button type="button" className={styles.toggle} aria-expanded={isOpen} onClick={() => setOpen(!isOpen)}>
          <Icon name={isOpen ? "chevron-down" : "chevron-right"} size={18} />
          <Icon name="building" size={18} />
          <bdi>{name}</bdi>
          <small>{t("department.people", { count: people })}</small>
        </button>
        <MenuButton
          icon="more"
          label={t("department.actions", { name })}
          items={[
            { icon: "people", label: t(showsPeople && isOpen ? "department.hidePeople" : "department.showPeople"), onSelect: () => [setShowsPeople(!(showsPeople && isOpen)), setOpen(true)] },
            ...(me.department === id ? [{ icon: "chat", label: t("department.openGroup"), onSelect: () => navigate(pathOf({ channel: group })) } as const] : []),
            ...(mayManage
              ? ([
                  undefined,
                  { icon: "plus", label: t("department.createBelow"), onSelect: () => onEdit({ name: "", parent: id }) },
                  { icon: "edit", label: t("department.edit"), onSelect: () => onEdit({ id, name, parent }) },
                  { icon: "trash", label: t("department.remove"), isDanger: true, onSelect: () => onRemove(department) },
                ] as const)
              : []),
          ]}
        />
      </div>
      {isOpen && (
        <div className={styles.below}>
          {(showsPeople || children.length === 0) && <DepartmentPeople department={id} all={all} mayManage={mayManage} />}
          {children.length > 0 && (
            <ul>
              {children.map((child) => (
                <Branch key={child.id} department={child} all={all} mayManage={mayManage} onEdit={onEdit} onRemove={onRemove} />
              ))}
            </ul>
          )}
        </div>
      )}
    </li>
  );
}
