import { useState, type ReactNode } from "react";
import type { Group } from "../../api";
import { Button, Dialog } from "../../design";
import { useText } from "../../text";
import form from "../parts/Form.module.css";
import { useSubmit } from "../useSubmit";
import { invite } from "./actions";
import { PeoplePicker } from "./PeoplePicker";

export function InviteDialog({ group, present, onClose }: { readonly group: Group; readonly present: ReadonlySet<string>; readonly onClose: () => void }): ReactNode {
  const t = useText();
  const [chosen, setChosen] = useState<ReadonlySet<string>>(new Set());
  const { isBusy, error, run } = useSubmit(async () => {
    await invite(group.id, [...chosen]);
    onClose();
  });
  return (
    <Dialog
      title={t("group.invite")}
      closeLabel={t("close")}
      onClose={onClose}
      footer={
        <>
          <Button onClick={onClose}>{t("cancel")}</Button>
          <Button kind="primary" isBusy={isBusy} disabled={chosen.size === 0} onClick={() => void run()}>
            {t("group.inviteCount", { count: chosen.size })}
          </Button>
        </>
      }
    >
      <PeoplePicker chosen={chosen} onChange={setChosen} present={present} />
      {error !== undefined && (
        <p role="alert" className={form.error}>
          {error}
        </p>
      )}
    </Dialog>
  );
}
