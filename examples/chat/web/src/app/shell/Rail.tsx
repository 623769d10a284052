import { useConversations } from "@im-sdk/client/react";
import type { ReactNode } from "react";
import { useFriends, useMe } from "../../api";
import { Avatar, Badge, classes, Icon, type IconName } from "../../design";
import { useText } from "../../text";
import { Link } from "../Link";
import styles from "./Rail.module.css";
import type { Area } from "./Shell";

/** The areas: beside the list, or below it on a narrow screen. */
export function Rail({ area }: { readonly area: Area }): ReactNode {
  const t = useText();
  const me = useMe();
  const { unread } = useConversations();
  const requests = useFriends()?.requests.filter(({ direction }) => direction === "in").length ?? 0;
  const entries: readonly { readonly area: Area; readonly to: string; readonly icon: IconName; readonly label: string; readonly count?: number; readonly countLabel?: string }[] = [
    { area: "chats", to: "/", icon: "chat", label: t("area.chats"), count: unread.count, countLabel: t("list.unread", { count: unread.count }) },
    { area: "people", to: "/people", icon: "people", label: t("area.people"), count: requests, countLabel: t("people.requestCount", { count: requests }) },
    { area: "live", to: "/live", icon: "live", label: t("area.live") },
    { area: "settings", to: "/settings", icon: "settings", label: t("area.settings") },
  ];
  return (
    <nav className={styles.rail} aria-label={t("area.title")}>
      {entries.map(({ area: name, to, icon, label, count = 0, countLabel = "" }) => (
        <Link key={name} to={to} className={styles.entry} aria-current={name === area ? "page" : undefined}>
          <span className={styles.icon}>
            <Icon name={icon} size={22} />
            {count > 0 && (
              <span className={styles.count}>
                <Badge count={count} label={countLabel} />
              </span>
            )}
          </span>
          <span>{label}</span>
        </Link>
      ))}
      <Link to="/settings/profile" className={classes(styles.entry, styles.me)} aria-label={t("area.profile", { name: me.name })} title={me.name}>
        <Avatar id={me.id} name={me.name} file={me.avatar} size={36} />
      </Link>
    </nav>
  );
}
