import { useState, type ReactNode } from "react";
import { useMay, type Group, type Joining } from "../../api";
import { Button, Switch, TextField, useToast } from "../../design";
import { useText } from "../../text";
import { Choices } from "../parts/Choices";
import styles from "../parts/Info.module.css";
import { report } from "../people/actions";
import { renewLink, updateGroup } from "./actions";

/** What those who manage the group have set. */
export function GroupSettings({ group }: { readonly group: Group }): ReactNode {
  const t = useText();
  const may = useMay(group);
  if (!may("mute_all") && !may("rename") && !may("link")) return null;
  return (
    <section>
      <h3>{t("group.manage")}</h3>
      {may("mute_all") && <Switch label={t("group.muteAll")} hint={t("group.muteAllHint")} isOn={group.all_muted} onChange={(all_muted) => report(updateGroup(group.id, { all_muted }))} />}
      {may("rename") && group.department === null && (
        <Choices<Joining>
          label={t("group.joining")}
          choices={[
            { value: "invite", label: t("joining.invite") },
            { value: "request", label: t("joining.request") },
            { value: "open", label: t("joining.open") },
          ]}
          value={group.joining}
          onChange={(joining) => report(updateGroup(group.id, { joining }))}
        />
      )}
      {may("link") && group.department === null && <InviteLink group={group.id} />}
    </section>
  );
}

/** A link that lets anybody join. Making one ends the one before. */
function InviteLink({ group }: { readonly group: string }): ReactNode {
  const t = useText();
  const toast = useToast();
  const [link, setLink] = useState<string>();
  const make = async (): Promise<void> => {
    const { link: token } = await renewLink(group);
    setLink(`${location.origin}/join/${encodeURIComponent(token)}`);
  };
  const copy = async (): Promise<void> => {
    await navigator.clipboard.writeText(link ?? "");
    toast(t("copied"), { kind: "ok" });
  };
  return (
    <div className={styles.stack}>
      {link !== undefined && <TextField label={t("group.link")} hint={t("group.linkHint")} value={link} readOnly onFocus={(event) => event.target.select()} />}
      <div className={styles.buttons}>
        <Button icon="link" onClick={() => report(make())}>
          {t(link === undefined ? "group.makeLink" : "group.renewLink")}
        </Button>
        {link !== undefined && (
          <Button icon="copy" onClick={() => report(copy())}>
            {t("copy")}
          </Button>
        )}
      </div>
    </div>
  );
}
