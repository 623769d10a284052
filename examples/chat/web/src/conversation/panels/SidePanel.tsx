import type { ReactNode } from "react";
import { IconButton } from "../../design";
import { useText } from "../../text";
import { usePane } from "../pane/context";
import { closePanel, type Panel } from "./panel";
import styles from "./panels.module.css";
import { PinsPanel } from "./PinsPanel";
import { SearchPanel } from "./SearchPanel";
import { ThreadPanel } from "./ThreadPanel";

/** What is shown beside the messages, and over them where there is no room. */
export default function SidePanel({ panel }: { readonly panel: Panel }): ReactNode {
  const t = useText();
  const pane = usePane();
  const titles = { search: t("chat.search"), pins: t("chat.pins"), thread: t("chat.thread") };
  const close = (): void => {
    closePanel(pane.conversation);
    pane.composer?.focus();
  };
  return (
    <aside className={styles.side} aria-label={titles[panel.kind]} onKeyDown={(event) => event.key === "Escape" && !event.defaultPrevented && close()}>
      <header className={styles.sideHeader}>
        <h2>{titles[panel.kind]}</h2>
        <IconButton icon="close" label={t("close")} onClick={close} />
      </header>
      {panel.kind === "search" && <SearchPanel />}
      {panel.kind === "pins" && <PinsPanel />}
      {panel.kind === "thread" && <ThreadPanel key={String(panel.root)} root={panel.root} />}
    </aside>
  );
}
