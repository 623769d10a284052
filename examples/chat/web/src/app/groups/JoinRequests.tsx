import type { ReactNode } from "react";
import { useJoinRequests } from "../../api";
import { IconButton } from "../../design";
import { useText } from "../../text";
import { PersonRow } from "../parts/PersonRow";
import rows from "../parts/Rows.module.css";
import { report } from "../people/actions";
import { decideRequest } from "./actions";

/** Who asks to join, for those who may decide. */
export function JoinRequests({ group }: { readonly group: string }): ReactNode {
  const t = useText();
  const requests = useJoinRequests(group);
  if (!requests || requests.length === 0) return null;
  return (
    <section>
      <h3>{t("group.requests")}</h3>
      <ul className={rows.rows}>
        {requests.map(({ user, text }) => (
          <PersonRow key={user.id} id={user.id} name={user.name} avatar={user.avatar} note={text}>
            <IconButton icon="close" label={t("group.refuse", { name: user.name })} onClick={() => report(decideRequest(group, user.id, false))} />
            <IconButton icon="check" label={t("group.accept", { name: user.name })} onClick={() => report(decideRequest(group, user.id, true))} />
          </PersonRow>
        ))}
      </ul>
    </section>
  );
}
