import { lazy, Suspense, type ReactNode } from "react";
import { useText } from "../../text";
import { Page } from "../parts/Page";
import { ListSkeleton } from "../shell/Frame";
import { AccountSettings } from "./AccountSettings";
import { AppearanceSettings } from "./AppearanceSettings";
import { DeviceSettings } from "./DeviceSettings";
import { NotificationSettings } from "./NotificationSettings";
import { ProfileSettings } from "./ProfileSettings";
import { WritingSettings } from "./WritingSettings";

const AuditLog = lazy(async () => ({ default: (await import("./AuditLog")).AuditLog }));

export function SettingsPage({ page }: { readonly page: string }): ReactNode {
  const t = useText();
  switch (page) {
    case "appearance":
      return <Page title={t("settings.appearance")} backTo="/settings" children={<AppearanceSettings />} />;
    case "writing":
      return <Page title={t("settings.writing")} backTo="/settings" children={<WritingSettings />} />;
    case "notifications":
      return <Page title={t("settings.notifications")} backTo="/settings" children={<NotificationSettings />} />;
    case "devices":
      return <Page title={t("settings.devices")} backTo="/settings" children={<DeviceSettings />} />;
    case "account":
      return <Page title={t("settings.account")} backTo="/settings" children={<AccountSettings />} />;
    case "audit":
      return (
        <Page title={t("settings.audit")} backTo="/settings">
          <Suspense fallback={<ListSkeleton />}>
            <AuditLog />
          </Suspense>
        </Page>
      );
    default:
      return <Page title={t("settings.profile")} backTo="/settings" children={<ProfileSettings />} />;
  }
}
