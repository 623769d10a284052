import { ClientProvider } from "@im-sdk/client/react";
import { useEffect, type ReactNode } from "react";
import { errorText, useSession } from "../api";
import { Button, EmptyState, Toasts } from "../design";
import { useText } from "../text";
import styles from "./App.module.css";
import { closeClient, openClient, useOpenClient } from "./client/useOpenClient";
import { Frame } from "./shell/Frame";
import { Shell } from "./shell/Shell";
import { SignInPage } from "./signin/SignInPage";

/** The page: who is signed in decides what it shows. */
export function App(): ReactNode {
  return (
    <>
      <Gate />
      <Toasts />
    </>
  );
}

function Gate(): ReactNode {
  const session = useSession();
  if (session.status === "unknown") return <Frame />;
  if (session.status === "signed_out") return <SignInPage />;
  return <SignedIn key={session.me.id} user={session.me.id} />;
}

function SignedIn({ user }: { readonly user: string }): ReactNode {
  const t = useText();
  const opening = useOpenClient();
  // The client belongs to the session, not to a click: the page may be opened with one.
  useEffect(() => {
    openClient(user);
    return () => closeClient();
  }, [user]);
  if (opening?.error !== undefined) {
    return (
      <main className={styles.centre}>
        <EmptyState icon="alert" title={t("client.failed")} text={errorText(opening.error)}>
          <Button kind="primary" onClick={() => openClient(user)}>
            {t("retry")}
          </Button>
        </EmptyState>
      </main>
    );
  }
  if (opening?.user !== user || !opening.client) return <Frame />;
  return (
    <ClientProvider client={opening.client}>
      <Shell />
    </ClientProvider>
  );
}
