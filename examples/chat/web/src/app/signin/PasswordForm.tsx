import { useState, type ReactNode } from "react";
import { signIn } from "../../api";
import { Button, TextField } from "../../design";
import { useText } from "../../text";
import { useSubmit } from "../useSubmit";
import styles from "./SignIn.module.css";

export function PasswordForm(): ReactNode {
  const t = useText();
  const [id, setId] = useState("");
  const [password, setPassword] = useState("");
  const { isBusy, error, submit } = useSubmit(() => signIn(id.trim(), password));
  return (
    <form className={styles.form} onSubmit={submit}>
      <TextField label={t("signIn.id")} value={id} onChange={(event) => setId(event.target.value)} autoComplete="username" autoCapitalize="none" spellCheck={false} required />
      <TextField label={t("signIn.password")} type="password" value={password} onChange={(event) => setPassword(event.target.value)} autoComplete="current-password" required error={error} />
      <Button kind="primary" type="submit" isWide isBusy={isBusy}>
        {t("signIn.go")}
      </Button>
    </form>
  );
}
