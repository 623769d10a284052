import { useState, type ReactNode } from "react";
import { Icon, Tabs } from "../../design";
import { useText } from "../../text";
import { CodeForm } from "./CodeForm";
import { DemoUsers } from "./DemoUsers";
import { LanguageMenu } from "./LanguageMenu";
import { PasswordForm } from "./PasswordForm";
import styles from "./SignIn.module.css";
import { SignUpForm } from "./SignUpForm";

type Way = "password" | "code" | "new";

export function SignInPage(): ReactNode {
  const t = useText();
  const [way, setWay] = useState<Way>("password");
  return (
    <main className={styles.page}>
      <div className={styles.card}>
        <header className={styles.header}>
          <span className={styles.logo}>
            <Icon name="chat" size={26} />
          </span>
          <h1>{t("signIn.title")}</h1>
          <LanguageMenu />
        </header>
        <DemoUsers />
        <Tabs<Way>
          label={t("signIn.title")}
          tabs={[
            { id: "password", label: t("signIn.password") },
            { id: "code", label: t("signIn.code") },
            { id: "new", label: t("signIn.new") },
          ]}
          selected={way}
          onSelect={setWay}
        >
          {way === "password" ? <PasswordForm /> : way === "code" ? <CodeForm /> : <SignUpForm />}
        </Tabs>
      </div>
    </main>
  );
}
