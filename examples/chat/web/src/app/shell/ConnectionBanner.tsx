import { useClient, useConnection } from "@im-sdk/client/react";
import { useEffect, useState, useSyncExternalStore, type ReactNode } from "react";
import { Icon } from "../../design";
import { useText } from "../../text";
import styles from "./ConnectionBanner.module.css";

/** A connection that comes at once is not worth a word. */
const PATIENCE_MS = 1500;
const QUEUE_MS = 1000;

/** Says that there is no connection, and how much waits for one. */
export function ConnectionBanner(): ReactNode {
  const t = useText();
  const client = useClient();
  const state = useConnection();
  const isOnline = useSyncExternalStore(followNetwork, () => navigator.onLine);
  const isLate = useLate(state !== "connected" && state !== "stopped");
  if (state === "stopped") {
    return (
      <div className={styles.banner} role="alert">
        <Icon name="alert" size={18} />
        <span>{t("connection.stopped")}</span>
        <button type="button" onClick={() => client.connect()}>
          {t("connection.here")}
        </button>
      </div>
    );
  }
  if (isOnline && !isLate) return null;
  return (
    <div className={styles.banner} role="status">
      <Icon name="offline" size={18} />
      <span>
        {t(isOnline ? "connection.connecting" : "connection.offline")} <Waiting />
      </span>
      <button type="button" onClick={() => client.wake()}>
        {t("retry")}
      </button>
    </div>
  );
}

function followNetwork(listener: () => void): () => void {
  window.addEventListener("online", listener);
  window.addEventListener("offline", listener);
  return () => {
    window.removeEventListener("online", listener);
    window.removeEventListener("offline", listener);
  };
}

/** Returns whether something has lasted for a while. */
function useLate(lasts: boolean): boolean {
  const [isLate, setLate] = useState(false);
  useEffect(() => {
    if (!lasts) return undefined;
    const timer = setTimeout(() => setLate(true), PATIENCE_MS);
    return () => {
      clearTimeout(timer);
      setLate(false);
    };
  }, [lasts]);
  return lasts && isLate;
}

/** The number of messages that are sent once there is a connection. */
function Waiting(): ReactNode {
  const t = useText();
  const client = useClient();
  const [count, setCount] = useState(0);
  useEffect(() => {
    // The client has no event for what is put into the outbox.
    const look = (): void => void client.queued().then((queued) => setCount(queued.filter(({ state }) => state !== "failed").length), () => undefined);
    look();
    const timer = setInterval(look, QUEUE_MS);
    return () => clearInterval(timer);
  }, [client]);
  return count > 0 && t("connection.waiting", { count });
}
