import type { ReactNode } from "react";
import { useFriends } from "../../api";
import { Button, EmptyState } from "../../design";
import { useText } from "../../text";
import { PersonRow } from "../parts/PersonRow";
import rows from "../parts/Rows.module.css";
import { ListSkeleton } from "../shell/Frame";
import { report, unblock } from "./actions";

export function BlockedTab(): ReactNode {
  const t = useText();
  const blocked = useFriends()?.blocked;
  if (!blocked) return <ListSkeleton />;
  if (blocked.length === 0) return <EmptyState icon="block" title={t("people.noBlocked")} text={t("people.noBlockedText")} />;
  return (
    <ul className={rows.rows}>
      {blocked.map(({ id, name, avatar }) => (
        <PersonRow key={id} id={id} name={name} avatar={avatar} note={id}>
          <Button onClick={() => report(unblock(id))}>{t("people.unblock")}</Button>
        </PersonRow>
      ))}
    </ul>
  );
}
