import { useClient } from "@im-sdk/client/react";
import { useCallback, type ReactNode } from "react";
import { useResource } from "../../api";
import { Avatar, Popover, Skeleton, type Anchor } from "../../design";
import { useText } from "../../text";
import { useName } from "../names";
import styles from "./panels.module.css";

const MOST = 200;

/** Who has read a message of a group. */
export default function ReadersPopover({ channel, seq, anchor, onClose }: { readonly channel: string; readonly seq: number; readonly anchor: Anchor; readonly onClose: () => void }): ReactNode {
  const t = useText();
  const client = useClient();
  // It is asked anew each time somebody looks.
  const load = useCallback(() => client.readers(channel, seq, MOST), [client, channel, seq]);
  const { value } = useResource(`readers/${channel}/${seq}/${Math.floor(Date.now() / 10_000)}`, load);
  return (
    <Popover anchor={anchor} onClose={onClose} label={t("chat.readBy")}>
      <div className={styles.readers}>
        {!value && <Skeleton width={160} height={32} />}
        {value?.count === 0 && <p>{t("chat.nobodyRead")}</p>}
        {value && value.count > 0 && (
          <>
            <p>{t("chat.readCount", { count: value.count })}</p>
            <ul>
              {value.users.map((user) => (
                <Reader key={user} user={user} />
              ))}
            </ul>
            {value.count > value.users.length && <p>{t("chat.readRest", { count: value.count - value.users.length })}</p>}
          </>
        )}
      </div>
    </Popover>
  );
}

function Reader({ user }: { readonly user: string }): ReactNode {
  const name = useName(user);
  return (
    <li>
      <Avatar id={user} name={name} size={24} />
      <bdi>{name}</bdi>
    </li>
  );
}
