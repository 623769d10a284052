import type { ReactNode } from "react";
import { Button, Dialog } from "../../design";
import { useText } from "../../text";
import { useSubmit } from "../useSubmit";
import styles from "./Form.module.css";

export interface ConfirmProps {
  readonly title: string;
  readonly text: string;
  readonly action: string;
  readonly onConfirm: () => Promise<unknown>;
  readonly onClose: () => void;
}

/** Asks before something that cannot be undone. */
export function Confirm({ title, text, action, onConfirm, onClose }: ConfirmProps): ReactNode {
  const t = useText();
  const { isBusy, error, run } = useSubmit(async () => {
    await onConfirm();
    onClose();
  });
  return (
    <Dialog
      title={title}
      size="small"
      closeLabel={t("close")}
      onClose={onClose}
      footer={
        <>
          <Button onClick={onClose}>{t("cancel")}</Button>
          <Button kind="danger" isBusy={isBusy} onClick={() => void run()}>
            {action}
          </Button>
        </>
      }
    >
      <p>{text}</p>
      {error !== undefined && (
        <p role="alert" className={styles.error}>
          {error}
        </p>
      )}
    </Dialog>
  );
}
