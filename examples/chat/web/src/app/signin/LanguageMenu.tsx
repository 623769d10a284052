import type { ReactNode } from "react";
import { MenuButton } from "../../design";
import { setLanguage, useLanguage, useText } from "../../text";

export function LanguageMenu(): ReactNode {
  const t = useText();
  const language = useLanguage();
  return (
    <MenuButton
      icon="globe"
      label={t("settings.language")}
      items={[
        { label: "English", isChecked: language === "en", onSelect: () => setLanguage("en") },
        { label: "中文", isChecked: language === "zh", onSelect: () => setLanguage("zh") },
      ]}
    />
  );
}
