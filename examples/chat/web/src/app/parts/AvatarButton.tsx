import { useRef, useState, type ReactNode } from "react";
import { errorText, uploadFile } from "../../api";
import { Avatar, Icon, Spinner, useToast } from "../../design";
import { useText } from "../../text";
import styles from "./AvatarButton.module.css";

export interface AvatarButtonProps {
  readonly id: string;
  readonly name: string;
  readonly file: string | null;
  readonly onChange: (file: string) => Promise<unknown>;
}

/** A picture that a press replaces. */
export function AvatarButton({ id, name, file, onChange }: AvatarButtonProps): ReactNode {
  const t = useText();
  const toast = useToast();
  const input = useRef<HTMLInputElement>(null);
  const [isBusy, setBusy] = useState(false);
  const replace = async (picture: File | undefined): Promise<void> => {
    if (!picture) return;
    setBusy(true);
    try {
      await onChange((await uploadFile(picture)).id);
    } catch (error) {
      toast(errorText(error), { kind: "danger" });
    } finally {
      setBusy(false);
    }
  };
  return (
    <>
      <button type="button" className={styles.button} aria-label={t("avatar.change")} title={t("avatar.change")} disabled={isBusy} onClick={() => input.current?.click()}>
        <Avatar id={id} name={name} file={file} size={88} />
        <span className={styles.camera}>{isBusy ? <Spinner size={18} /> : <Icon name="camera" size={18} />}</span>
      </button>
      <input
        ref={input}
        type="file"
        accept="image/*"
        hidden
        tabIndex={-1}
        onChange={(event) => {
          void replace(event.target.files?.[0]);
          event.target.value = "";
        }}
      />
    </>
  );
}
