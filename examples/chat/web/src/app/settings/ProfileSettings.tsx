import type { ReactNode } from "react";
import { updateMe, useDepartments, useMe } from "../../api";
import { useText } from "../../text";
import { AvatarButton } from "../parts/AvatarButton";
import { EditLine } from "../parts/EditLine";
import info from "../parts/Info.module.css";
import { Section } from "../parts/Page";

export function ProfileSettings(): ReactNode {
  const t = useText();
  const me = useMe();
  const department = useDepartments().value?.find(({ id }) => id === me.department);
  return (
    <>
      <div className={info.face}>
        <AvatarButton id={me.id} name={me.name} file={me.avatar} onChange={(avatar) => updateMe({ avatar })} />
        <p className={info.faint}>{[me.id, department?.name].filter(Boolean).join(" · ")}</p>
      </div>
      <Section title={t("profile.name")}>
        <EditLine label={t("profile.name")} value={me.name} placeholder="" maxLength={64} isRequired onSave={(name) => updateMe({ name })} />
      </Section>
      <Section title={t("profile.about")}>
        <EditLine label={t("profile.about")} value={me.about} placeholder={t("profile.noAbout")} maxLength={300} isLong onSave={(about) => updateMe({ about })} />
      </Section>
      <Section title={t("profile.address")}>
        <EditLine label={t("profile.address")} value={me.address ?? ""} placeholder={t("profile.noAddress")} maxLength={200} onSave={(address) => updateMe({ address: address || null })} />
      </Section>
    </>
  );
}
