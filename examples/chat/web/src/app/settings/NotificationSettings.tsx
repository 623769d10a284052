import { useState, type ReactNode } from "react";
import { Switch } from "../../design";
import { useText } from "../../text";
import { Section } from "../parts/Page";
import { setPreference, usePreferences } from "../preferences";

export function NotificationSettings(): ReactNode {
  const t = useText();
  const { notifies, plays } = usePreferences();
  const [permission, setPermission] = useState(() => ("Notification" in window ? Notification.permission : "denied"));
  const turn = async (isOn: boolean): Promise<void> => {
    const answer = isOn && permission === "default" ? await Notification.requestPermission() : permission;
    setPermission(answer);
    setPreference("notifies", isOn && answer === "granted");
  };
  return (
    <Section>
      <Switch
        label={t("settings.notify")}
        hint={t(permission === "denied" ? "settings.notifyDenied" : "settings.notifyHint")}
        isOn={notifies && permission === "granted"}
        isDisabled={permission === "denied"}
        onChange={(isOn) => void turn(isOn)}
      />
      <Switch label={t("settings.sound")} isOn={plays} isDisabled={!notifies} onChange={(isOn) => setPreference("plays", isOn)} />
    </Section>
  );
}
