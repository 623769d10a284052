import { useState, type ReactNode } from "react";
import { requestCode, signInByCode } from "../../api";
import { Button, TextField } from "../../design";
import { useText } from "../../text";
import { useSubmit } from "../useSubmit";
import styles from "./SignIn.module.css";

/** Signing in by a code that goes to an e-mail address. */
export function CodeForm(): ReactNode {
  const t = useText();
  const [address, setAddress] = useState("");
  const [code, setCode] = useState("");
  const [isSent, setSent] = useState(false);
  const ask = useSubmit(async () => {
    await requestCode(address.trim());
    setSent(true);
  });
  const enter = useSubmit(() => signInByCode(address.trim(), code.trim()));
  const { isBusy, error, submit } = isSent ? enter : ask;
  return (
    <form className={styles.form} onSubmit={submit}>
      <TextField label={t("signIn.address")} type="email" value={address} onChange={(event) => setAddress(event.target.value)} autoComplete="email" required readOnly={isSent} error={isSent ? undefined : error} />
      {isSent && (
        <TextField
          label={t("signIn.code")}
          hint={t("signIn.codeSent", { address: address.trim() })}
          value={code}
          onChange={(event) => setCode(event.target.value)}
          inputMode="numeric"
          autoComplete="one-time-code"
          required
          autoFocus
          error={error}
        />
      )}
      <Button kind="primary" type="submit" isWide isBusy={isBusy}>
        {isSent ? t("signIn.go") : t("signIn.sendCode")}
      </Button>
      {isSent && (
        <Button kind="quiet" isWide onClick={() => setSent(false)}>
          {t("signIn.otherAddress")}
        </Button>
      )}
    </form>
  );
}
