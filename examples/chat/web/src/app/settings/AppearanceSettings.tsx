import type { ReactNode } from "react";
import { setLanguage, useLanguageChoice, useText, type LanguageChoice } from "../../text";
import { Choices } from "../parts/Choices";
import { Section } from "../parts/Page";
import { setPreference, usePreferences, type Theme } from "../preferences";

export function AppearanceSettings(): ReactNode {
  const t = useText();
  const { theme } = usePreferences();
  const language = useLanguageChoice();
  return (
    <>
      <Section>
        <Choices<Theme>
          label={t("settings.theme")}
          choices={[
            { value: "system", label: t("settings.asSystem"), icon: "device" },
            { value: "light", label: t("settings.light"), icon: "sun" },
            { value: "dark", label: t("settings.dark"), icon: "moon" },
          ]}
          value={theme}
          onChange={(next) => setPreference("theme", next)}
        />
      </Section>
      <Section>
        <Choices<LanguageChoice>
          label={t("settings.language")}
          choices={[
            { value: "system", label: t("settings.asSystem"), icon: "globe" },
            { value: "en", label: "English" },
            { value: "zh", label: "中文" },
          ]}
          value={language}
          onChange={setLanguage}
        />
      </Section>
    </>
  );
}
