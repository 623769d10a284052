import type { ReactNode } from "react";
import { useFriends, type FriendRequest } from "../../api";
import { Button, EmptyState } from "../../design";
import { formatWhen, useText } from "../../text";
import { Section } from "../parts/Page";
import { PersonRow } from "../parts/PersonRow";
import rows from "../parts/Rows.module.css";
import { pathOf } from "../routes";
import { ListSkeleton } from "../shell/Frame";
import { befriend, refuse, report } from "./actions";

export function RequestsTab(): ReactNode {
  const t = useText();
  const requests = useFriends()?.requests;
  if (!requests) return <ListSkeleton />;
  if (requests.length === 0) return <EmptyState icon="mail" title={t("people.noRequests")} text={t("people.noRequestsText")} />;
  const received = requests.filter(({ direction }) => direction === "in");
  const sent = requests.filter(({ direction }) => direction === "out");
  return (
    <>
      {received.length > 0 && (
        <Section title={t("people.received")}>
          <ul className={rows.rows}>
            {received.map((request) => (
              <RequestRow key={request.user.id} request={request}>
                <Button onClick={() => report(refuse(request.user.id))}>{t("people.refuse")}</Button>
                <Button kind="primary" onClick={() => report(befriend(request.user.id))}>
                  {t("people.accept")}
                </Button>
              </RequestRow>
            ))}
          </ul>
        </Section>
      )}
      {sent.length > 0 && (
        <Section title={t("people.sent")}>
          <ul className={rows.rows}>
            {sent.map((request) => (
              <RequestRow key={request.user.id} request={request} />
            ))}
          </ul>
        </Section>
      )}
    </>
  );
}

function RequestRow({ request: { user, text, at }, children }: { readonly request: FriendRequest; readonly children?: ReactNode }): ReactNode {
  return (
    <PersonRow id={user.id} name={user.name} avatar={user.avatar} note={[text, formatWhen(at)].filter(Boolean).join(" · ")} to={pathOf({ user: user.id }, undefined, true)}>
      {children}
    </PersonRow>
  );
}
