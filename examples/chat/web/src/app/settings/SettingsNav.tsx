import type { ReactNode } from "react";
import { signOut, useMe } from "../../api";
import { Avatar, Icon, type IconName } from "../../design";
import { useText } from "../../text";
import { Link } from "../Link";
import { useRoute } from "../routes";
import side from "../shell/Side.module.css";

export function SettingsNav(): ReactNode {
  const t = useText();
  const me = useMe();
  const route = useRoute();
  const selected = route.name === "settings" ? (route.page ?? "profile") : undefined;
  const entries: readonly { readonly page: string; readonly icon: IconName; readonly label: string }[] = [
    { page: "appearance", icon: "sun", label: t("settings.appearance") },
    { page: "writing", icon: "keyboard", label: t("settings.writing") },
    { page: "notifications", icon: "bell", label: t("settings.notifications") },
    { page: "devices", icon: "device", label: t("settings.devices") },
    { page: "account", icon: "lock", label: t("settings.account") },
    ...(me.permissions.includes("audit.read") ? [{ page: "audit", icon: "eye", label: t("settings.audit") } as const] : []),
  ];
  return (
    <>
      <header className={side.header}>
        <h1>{t("area.settings")}</h1>
      </header>
      <nav className={side.nav} aria-label={t("area.settings")}>
        <Link to="/settings/profile" aria-current={selected === "profile" ? "page" : undefined}>
          <Avatar id={me.id} name={me.name} file={me.avatar} size={44} />
          <span className={side.label}>
            <bdi>{me.name}</bdi>
            <br />
            <small className={side.note}>{me.id}</small>
          </span>
        </Link>
        <hr />
        {entries.map(({ page, icon, label }) => (
          <Link key={page} to={`/settings/${page}`} aria-current={page === selected ? "page" : undefined}>
            <Icon name={icon} />
            <span className={side.label}>{label}</span>
          </Link>
        ))}
        <hr />
        <button type="button" onClick={() => void signOut()}>
          <Icon name="sign-out" />
          <span className={side.label}>{t("settings.signOut")}</span>
        </button>
      </nav>
    </>
  );
}
