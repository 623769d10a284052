import type { ReactNode } from "react";
import { Button } from "../../design";
import { useText } from "../../text";
import { Choices } from "../parts/Choices";
import { Section } from "../parts/Page";
import { setPreference, usePreferences } from "../preferences";
import { openDialog } from "../shell/dialogs";

export function WritingSettings(): ReactNode {
  const t = useText();
  const { enterSends } = usePreferences();
  return (
    <>
      <Section>
        <Choices<"enter" | "command">
          label={t("settings.sendWith")}
          choices={[
            { value: "enter", label: "Enter" },
            { value: "command", label: "Ctrl + Enter" },
          ]}
          value={enterSends ? "enter" : "command"}
          onChange={(key) => setPreference("enterSends", key === "enter")}
        />
      </Section>
      <div>
        <Button icon="keyboard" onClick={() => openDialog("shortcuts")}>
          {t("shortcuts.title")}
        </Button>
      </div>
    </>
  );
}
