import { useId, useState, type ReactNode } from "react";
import type { Department } from "../../api";
import { Button, Dialog, TextField } from "../../design";
import { useText } from "../../text";
import form from "../parts/Form.module.css";
import { useSubmit } from "../useSubmit";
import { createDepartment, updateDepartment } from "./actions";
import styles from "./Departments.module.css";

export interface DepartmentDraft {
  /** Unset for a new one. */
  readonly id?: string;
  readonly name: string;
  readonly parent: string | null;
}

export function DepartmentDialog({ draft, departments, onClose }: { readonly draft: DepartmentDraft; readonly departments: readonly Department[]; readonly onClose: () => void }): ReactNode {
  const t = useText();
  const id = useId();
  const [name, setName] = useState(draft.name);
  const [parent, setParent] = useState(draft.parent);
  const { isBusy, error, submit } = useSubmit(async () => {
    if (draft.id === undefined) await createDepartment(name.trim(), parent);
    else await updateDepartment(draft.id, { name: name.trim(), parent });
    onClose();
  });
  return (
    <Dialog title={t(draft.id === undefined ? "department.create" : "department.edit")} size="small" closeLabel={t("close")} onClose={onClose}>
      <form className={form.form} onSubmit={submit}>
        <TextField label={t("department.name")} value={name} onChange={(event) => setName(event.target.value)} maxLength={64} required autoFocus error={error} />
        <div>
          <label htmlFor={id}>{t("department.parent")}</label>
          <select id={id} className={styles.select} value={parent ?? ""} onChange={(event) => setParent(event.target.value || null)}>
            <option value="">{t("department.top")}</option>
            {departments.filter((one) => !isBelow(one, draft.id, departments)).map((one) => (
              <option key={one.id} value={one.id}>
                {one.name}
              </option>
            ))}
          </select>
        </div>
        <div className={form.actions}>
          <Button onClick={onClose}>{t("cancel")}</Button>
          <Button kind="primary" type="submit" isBusy={isBusy}>
            {t("save")}
          </Button>
        </div>
      </form>
    </Dialog>
  );
}

/** Returns whether a department is `top` or below it: it cannot become its parent. */
function isBelow(department: Department, top: string | undefined, all: readonly Department[]): boolean {
  for (let one: Department | undefined = department; one; one = all.find(({ id }) => id === one?.parent)) if (one.id === top) return true;
  return false;
}
