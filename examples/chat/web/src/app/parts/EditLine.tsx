import { useState, type ReactNode } from "react";
import { Button, IconButton, TextArea, TextField } from "../../design";
import { useText } from "../../text";
import info from "./Info.module.css";
import { useSubmit } from "../useSubmit";
import form from "./Form.module.css";

export interface EditLineProps {
  readonly label: string;
  readonly value: string;
  /** Stands where there is no value. */
  readonly placeholder: string;
  readonly maxLength: number;
  readonly isLong?: boolean;
  readonly isRequired?: boolean;
  /** Without it, the text is only shown. */
  readonly onSave: ((value: string) => Promise<unknown>) | undefined;
}

/** A text that is edited where it stands. */
export function EditLine({ label, value, placeholder, maxLength, isLong = false, isRequired = false, onSave }: EditLineProps): ReactNode {
  const t = useText();
  const [edited, setEdited] = useState<string>();
  const { isBusy, error, submit } = useSubmit(async () => {
    if (edited !== undefined && edited.trim() !== value) await onSave?.(edited.trim());
    setEdited(undefined);
  });
  if (edited === undefined) {
    return (
      <div className={info.line}>
        <span className={value ? info.text : info.faint} dir="auto">
          {value || placeholder}
        </span>
        {onSave && <IconButton icon="edit" size={18} label={t("edit", { what: label })} onClick={() => setEdited(value)} />}
      </div>
    );
  }
  const field = { label, isLabelHidden: true, value: edited, maxLength, error, autoFocus: true, required: isRequired };
  return (
    <form
      className={form.form}
      onSubmit={submit}
      onKeyDown={(event) => {
        if (event.key !== "Escape") return;
        event.preventDefault();
        setEdited(undefined);
      }}
    >
      {isLong ? <TextArea {...field} rows={4} onChange={(event) => setEdited(event.target.value)} /> : <TextField {...field} onChange={(event) => setEdited(event.target.value)} />}
      <div className={form.actions}>
        <Button onClick={() => setEdited(undefined)}>{t("cancel")}</Button>
        <Button kind="primary" type="submit" isBusy={isBusy}>
          {t("save")}
        </Button>
      </div>
    </form>
  );
}
