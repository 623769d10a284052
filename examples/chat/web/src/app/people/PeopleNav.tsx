import type { ReactNode } from "react";
import { useFriends } from "../../api";
import { Badge, Icon, type IconName } from "../../design";
import { useText } from "../../text";
import { Link } from "../Link";
import { useRoute } from "../routes";
import { openDialog } from "../shell/dialogs";
import side from "../shell/Side.module.css";

export function PeopleNav(): ReactNode {
  const t = useText();
  const route = useRoute();
  const requests = useFriends()?.requests.filter(({ direction }) => direction === "in").length ?? 0;
  const selected = route.name === "people" ? (route.tab ?? "friends") : undefined;
  const entries: readonly { readonly tab: string; readonly icon: IconName; readonly label: string; readonly count?: number }[] = [
    { tab: "friends", icon: "user", label: t("people.friends") },
    { tab: "requests", icon: "mail", label: t("people.requests"), count: requests },
    { tab: "groups", icon: "people", label: t("people.groups") },
    { tab: "departments", icon: "building", label: t("people.departments") },
    { tab: "blocked", icon: "block", label: t("people.blocked") },
  ];
  return (
    <>
      <header className={side.header}>
        <h1>{t("area.people")}</h1>
      </header>
      <nav className={side.nav} aria-label={t("area.people")}>
        {entries.map(({ tab, icon, label, count = 0 }) => (
          <Link key={tab} to={`/people/${tab}`} aria-current={tab === selected ? "page" : undefined}>
            <Icon name={icon} />
            <span className={side.label}>{label}</span>
            {count > 0 && <Badge count={count} />}
          </Link>
        ))}
        <hr />
        <button type="button" onClick={() => openDialog("add-friend")}>
          <Icon name="user-plus" />
          <span className={side.label}>{t("people.add")}</span>
        </button>
        <button type="button" onClick={() => openDialog("create-group")}>
          <Icon name="plus" />
          <span className={side.label}>{t("group.create")}</span>
        </button>
      </nav>
    </>
  );
}
