import type { ReactNode } from "react";
import { useState } from "react";
import { api, errorText, invalidate, signOut, useResource, type SessionInfo } from "../../api";
import { Button, EmptyState, Icon } from "../../design";
import { formatWhen, useText } from "../../text";
import { Confirm } from "../parts/Confirm";
import info from "../parts/Info.module.css";
import { Section } from "../parts/Page";
import rows from "../parts/Rows.module.css";
import { report } from "../people/actions";
import { ListSkeleton } from "../shell/Frame";

const load = async (): Promise<readonly SessionInfo[]> => (await api.get<{ sessions: readonly SessionInfo[] }>("/api/sessions")).sessions;

/** Where the user is signed in. */
export function DeviceSettings(): ReactNode {
  const t = useText();
  const { value: sessions, error } = useResource("sessions", load);
  const [isAsked, setAsked] = useState(false);
  if (!sessions) return error ? <EmptyState icon="offline" title={t("list.failed")} text={errorText(error)} /> : <ListSkeleton rows={3} />;
  const end = async (id: string): Promise<void> => {
    await api.delete(`/api/sessions/${encodeURIComponent(id)}`);
    invalidate("sessions");
  };
  return (
    <>
      <Section>
        <ul className={rows.rows}>
          {[...sessions]
            .sort((one, other) => Number(other.is_current) - Number(one.is_current) || other.last_used_at - one.last_used_at)
            .map((session) => (
              <li key={session.id} className={rows.row}>
                <span className={rows.main}>
                  <Icon name="device" />
                  <span className={rows.text}>
                    <bdi className={rows.name}>{session.device_name}</bdi>
                    <span className={rows.note}>{session.is_current ? t("devices.current") : t("devices.lastUsed", { when: formatWhen(session.last_used_at) })}</span>
                  </span>
                </span>
                {!session.is_current && (
                  <span className={rows.actions}>
                    <Button onClick={() => report(end(session.id))}>{t("settings.signOut")}</Button>
                  </span>
                )}
              </li>
            ))}
        </ul>
      </Section>
      <div className={info.buttons}>
        <Button kind="danger" icon="sign-out" onClick={() => setAsked(true)}>
          {t("devices.everywhere")}
        </Button>
      </div>
      {isAsked && <Confirm title={t("devices.everywhere")} text={t("devices.everywhereText")} action={t("settings.signOut")} onConfirm={() => signOut(true)} onClose={() => setAsked(false)} />}
    </>
  );
}
