import { useState, type ReactNode } from "react";
import { api } from "../../api";
import { Button, TextField, useToast } from "../../design";
import { useText } from "../../text";
import form from "../parts/Form.module.css";
import { Section } from "../parts/Page";
import { useSubmit } from "../useSubmit";

export function AccountSettings(): ReactNode {
  const t = useText();
  const toast = useToast();
  const [old, setOld] = useState("");
  const [next, setNext] = useState("");
  const { isBusy, error, submit } = useSubmit(async () => {
    await api.put("/api/me/password", { old, new: next });
    setOld("");
    setNext("");
    toast(t("account.changed"), { kind: "ok" });
  });
  return (
    <Section title={t("account.password")}>
      <form className={form.form} onSubmit={submit}>
        <TextField label={t("account.old")} type="password" value={old} onChange={(event) => setOld(event.target.value)} autoComplete="current-password" />
        <TextField label={t("account.new")} hint={t("signIn.passwordHint")} type="password" value={next} onChange={(event) => setNext(event.target.value)} autoComplete="new-password" minLength={8} maxLength={200} required error={error} />
        <div className={form.actions}>
          <Button kind="primary" type="submit" isBusy={isBusy}>
            {t("account.change")}
          </Button>
        </div>
      </form>
    </Section>
  );
}
