import type { ReactNode } from "react";
import { Button, IconButton, useToast } from "../design";
import { useText } from "../text";
import { useReport } from "./actions/useReport";
import { textOf } from "./content";
import styles from "./conversation.module.css";
import { usePane, usePaneState } from "./pane/context";

/** What can be done with several messages, in the place of the composer. */
export function SelectionBar(): ReactNode {
  const t = useText();
  const pane = usePane();
  const toast = useToast();
  const report = useReport(pane);
  const selected = usePaneState((state) => state.selected);
  const messages = pane.window.getSnapshot().messages.filter(({ id }) => selected?.has(id));
  const end = (): void => pane.state.set({ selected: undefined });
  const copy = (): void => {
    void navigator.clipboard.writeText(messages.map(({ content }) => textOf(content)).join("\n")).then(() => toast(t("chat.copied"), { kind: "ok" }));
    end();
  };
  const remove = (): void => {
    for (const message of messages) report(pane.changes.deleteForMe(message));
    end();
  };
  return (
    <div className={styles.selection} role="toolbar" aria-label={t("chat.messageActions")} onKeyDown={(event) => event.key === "Escape" && end()}>
      <IconButton icon="close" label={t("cancel")} autoFocus onClick={end} />
      <strong role="status">{t("chat.selectedCount", { count: selected?.size ?? 0 })}</strong>
      <IconButton icon="copy" label={t("chat.copy")} onClick={copy} />
      <IconButton icon="trash" label={t("chat.deleteForMe")} onClick={remove} />
      <Button
        kind="primary"
        icon="forward"
        onClick={() => {
          pane.state.set({ forwarding: messages, selected: undefined });
        }}
      >
        {t("chat.forward")}
      </Button>
    </div>
  );
}
