import { useState, type ReactNode } from "react";
import { demoUsers, errorText, signInAsDemo, useResource } from "../../api";
import { Avatar, Spinner, useToast } from "../../design";
import { useText } from "../../text";
import styles from "./SignIn.module.css";

/** The users of a demonstration, who need no password. Elsewhere there are none. */
export function DemoUsers(): ReactNode {
  const t = useText();
  const toast = useToast();
  const { value } = useResource("demo", demoUsers);
  const [chosen, setChosen] = useState<string>();
  if (!value || value.length === 0) return null;
  const choose = async (id: string): Promise<void> => {
    setChosen(id);
    await signInAsDemo(id).catch((error: unknown) => {
      setChosen(undefined);
      toast(errorText(error), { kind: "danger" });
    });
  };
  return (
    <section className={styles.demo} aria-labelledby="demo-title">
      <h2 id="demo-title">{t("signIn.demo")}</h2>
      <ul>
        {value.map(({ id, name }) => (
          <li key={id}>
            <button type="button" disabled={chosen !== undefined} onClick={() => void choose(id)}>
              {chosen === id ? <Spinner size={32} /> : <Avatar id={id} name={name} size={32} />}
              <span>{name}</span>
            </button>
          </li>
        ))}
      </ul>
      <p className={styles.or}>
        <span>{t("signIn.or")}</span>
      </p>
    </section>
  );
}
