import type { ReactNode } from "react";
import { Dialog } from "../../design";
import { useText } from "../../text";
import styles from "./Switcher.module.css";

export function ShortcutsDialog({ onClose }: { readonly onClose: () => void }): ReactNode {
  const t = useText();
  const groups = [
    {
      title: t("shortcuts.everywhere"),
      keys: [
        [["Ctrl", "K"], t("shortcuts.switcher")],
        [["Alt", "↑"], t("shortcuts.previous")],
        [["Alt", "↓"], t("shortcuts.next")],
        [["Alt", "Shift", "↓"], t("shortcuts.nextUnread")],
        [["Esc"], t("shortcuts.close")],
        [["?"], t("shortcuts.help")],
      ],
    },
    {
      title: t("shortcuts.list"),
      keys: [
        [["↑", "↓"], t("shortcuts.move")],
        [["Enter"], t("shortcuts.open")],
        [["Shift", "F10"], t("shortcuts.menu")],
      ],
    },
    {
      title: t("shortcuts.writing"),
      keys: [
        [["Enter"], t("shortcuts.send")],
        [["Shift", "Enter"], t("shortcuts.line")],
        [["↑"], t("shortcuts.editLast")],
        [["@"], t("shortcuts.mention")],
        [[":"], t("shortcuts.emoji")],
      ],
    },
  ] as const;
  return (
    <Dialog title={t("shortcuts.title")} closeLabel={t("close")} onClose={onClose}>
      <div className={styles.shortcuts}>
        {groups.map(({ title, keys }) => (
          <section key={title}>
            <h3>{title}</h3>
            <dl>
              {keys.map(([combination, what]) => (
                <div key={what}>
                  <dt>
                    {combination.map((key) => (
                      <kbd key={key}>{key}</kbd>
                    ))}
                  </dt>
                  <dd>{what}</dd>
                </div>
              ))}
            </dl>
          </section>
        ))}
      </div>
    </Dialog>
  );
}
