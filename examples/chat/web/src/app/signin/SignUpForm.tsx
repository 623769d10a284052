import { useState, type ReactNode } from "react";
import { signUp } from "../../api";
import { Button, TextField } from "../../design";
import { useLanguage, useText } from "../../text";
import { useSubmit } from "../useSubmit";
import styles from "./SignIn.module.css";

export function SignUpForm(): ReactNode {
  const t = useText();
  const language = useLanguage();
  const [name, setName] = useState("");
  const [id, setId] = useState("");
  const [password, setPassword] = useState("");
  const { isBusy, error, submit } = useSubmit(() => signUp({ id: id.trim(), name: name.trim(), password, language }));
  return (
    <form className={styles.form} onSubmit={submit}>
      <TextField label={t("signIn.name")} value={name} onChange={(event) => setName(event.target.value)} autoComplete="name" maxLength={64} required />
      <TextField
        label={t("signIn.id")}
        hint={t("signIn.idHint")}
        value={id}
        onChange={(event) => setId(event.target.value)}
        autoComplete="username"
        autoCapitalize="none"
        spellCheck={false}
        pattern="[a-z0-9_.\-]{3,32}"
        title={t("signIn.idHint")}
        required
      />
      <TextField
        label={t("signIn.password")}
        hint={t("signIn.passwordHint")}
        type="password"
        value={password}
        onChange={(event) => setPassword(event.target.value)}
        autoComplete="new-password"
        minLength={8}
        maxLength={200}
        required
        error={error}
      />
      <Button kind="primary" type="submit" isWide isBusy={isBusy}>
        {t("signIn.create")}
      </Button>
    </form>
  );
}
