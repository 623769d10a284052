import { useState, type ReactNode } from "react";
import type { Group } from "../../api";
import { Button, Dialog, TextField } from "../../design";
import { useText } from "../../text";
import form from "../parts/Form.module.css";
import { useSubmit } from "../useSubmit";
import { createGroup } from "./actions";
import { PeoplePicker } from "./PeoplePicker";

export function CreateGroupDialog({ onClose, onCreated }: { readonly onClose: () => void; readonly onCreated: (group: Group) => void }): ReactNode {
  const t = useText();
  const [name, setName] = useState("");
  const [members, setMembers] = useState<ReadonlySet<string>>(new Set());
  const { isBusy, error, submit } = useSubmit(async () => {
    const group = await createGroup(name.trim(), [...members]);
    onClose();
    onCreated(group);
  });
  return (
    <Dialog
      title={t("group.create")}
      closeLabel={t("close")}
      onClose={onClose}
      footer={
        <>
          <Button onClick={onClose}>{t("cancel")}</Button>
          <Button kind="primary" type="submit" form="create-group" isBusy={isBusy} disabled={name.trim() === ""}>
            {members.size > 0 ? t("group.createWith", { count: members.size }) : t("group.createAlone")}
          </Button>
        </>
      }
    >
      <form id="create-group" className={form.form} onSubmit={submit}>
        <TextField label={t("group.name")} value={name} onChange={(event) => setName(event.target.value)} maxLength={64} required autoFocus error={error} />
        <PeoplePicker chosen={members} onChange={setMembers} />
      </form>
    </Dialog>
  );
}
