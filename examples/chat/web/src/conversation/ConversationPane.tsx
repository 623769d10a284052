import type { Conversation, ListedConversation } from "@im-sdk/client";
import { useClient, useConversations } from "@im-sdk/client/react";
import { lazy, Suspense, useEffect, useMemo, useState, type DragEvent, type ReactNode } from "react";
import { useGroup, useMay, useUser } from "../api";
import { useRoute } from "../app/routes";
import { formatDateTime, useText } from "../text";
import { Composer } from "./composer/Composer";
import { Uploads } from "./composer/uploads";
import styles from "./conversation.module.css";
import { Header } from "./Header";
import { isSame, keyOf } from "./key";
import { MessageList } from "./MessageList";
import { PaneContext, usePane, usePaneState } from "./pane/context";
import { paneOf, type Pane } from "./pane/Pane";
import { usePanel } from "./panels/panel";
import { SelectionBar } from "./SelectionBar";

const SidePanel = lazy(() => import("./panels/SidePanel"));
const ForwardDialog = lazy(() => import("./panels/ForwardDialog"));
const MediaViewer = lazy(() => import("./viewer/MediaViewer"));

const uploadsOf = new WeakMap<Pane, Uploads>();

/** A conversation: its messages, and what is written to it. */
export function ConversationPane({ conversation, actions }: { readonly conversation: Conversation; /** Buttons of its header, such as those of calls. */ readonly actions?: ReactNode }): ReactNode {
  const { conversations } = useConversations();
  const listed = conversations.find((entry) => isSame(entry.conversation, conversation));
  return <OpenPane key={keyOf(conversation)} conversation={conversation} listed={listed} actions={actions} />;
}

function OpenPane({ conversation, listed, actions }: { readonly conversation: Conversation; readonly listed: ListedConversation | undefined; readonly actions: ReactNode }): ReactNode {
  const client = useClient();
  const route = useRoute();
  const at = route.name === "conversation" ? route.at : undefined;
  const [pane] = useState(() => paneOf(client, conversation, listed, at));
  const [begunAt] = useState(at);
  const uploads = useMemo(() => {
    const known = uploadsOf.get(pane) ?? new Uploads();
    uploadsOf.set(pane, known);
    return known;
  }, [pane]);

  useEffect(() => {
    if (listed) pane.setListed(listed);
  }, [pane, listed]);
  useEffect(() => {
    if (at !== undefined && at !== begunAt) void pane.jumpTo({ seq: at });
  }, [pane, at, begunAt]);
  // What came while the tab was hidden is read when it is looked at.
  useEffect(() => {
    document.addEventListener("visibilitychange", pane.markSeen);
    return () => document.removeEventListener("visibilitychange", pane.markSeen);
  }, [pane]);

  return (
    <PaneContext value={pane}>
      <section className={styles.pane}>
        <Main uploads={uploads} listed={listed} actions={actions} />
        <Side />
      </section>
      <Layers />
    </PaneContext>
  );
}

function Main({ uploads, listed, actions }: { readonly uploads: Uploads; readonly listed: ListedConversation | undefined; readonly actions: ReactNode }): ReactNode {
  const t = useText();
  const pane = usePane();
  const isSelecting = usePaneState((state) => state.selected !== undefined);
  const closed = useClosed(pane, listed);
  const [isOver, setOver] = useState(false);
  const hasFiles = ({ dataTransfer }: DragEvent): boolean => !closed && dataTransfer.types.includes("Files");
  const drop = (event: DragEvent): void => {
    setOver(false);
    if (!hasFiles(event)) return;
    event.preventDefault();
    uploads.add(event.dataTransfer.files);
    pane.composer?.focus();
  };
  return (
    <div
      className={styles.main}
      onDragOver={(event) => {
        if (!hasFiles(event)) return;
        event.preventDefault();
        setOver(true);
      }}
      onDragLeave={(event) => !event.currentTarget.contains(event.relatedTarget as Node | null) && setOver(false)}
      onDrop={drop}
    >
      <Header>{actions}</Header>
      <MessageList unread={listed?.unread ?? 0} />
      {isSelecting ? <SelectionBar /> : closed ? <p className={styles.closed}>{closed}</p> : <Composer pane={pane} uploads={uploads} draft={listed?.state.draft} />}
      {isOver && <div className={styles.drop}>{t("chat.dropFiles")}</div>}
    </div>
  );
}

function Side(): ReactNode {
  const panel = usePanel();
  if (!panel) return null;
  return (
    <Suspense>
      <SidePanel panel={panel} />
    </Suspense>
  );
}

function Layers(): ReactNode {
  const pane = usePane();
  const forwarding = usePaneState((state) => state.forwarding);
  const viewing = usePaneState((state) => state.viewing);
  return (
    <Suspense>
      {forwarding && <ForwardDialog messages={forwarding} onClose={() => pane.state.set({ forwarding: undefined })} />}
      {viewing !== undefined && <MediaViewer first={viewing} onClose={() => pane.state.set({ viewing: undefined })} />}
    </Suspense>
  );
}

/** Returns why nothing can be written here, if so. */
function useClosed(pane: Pane, listed: ListedConversation | undefined): string | undefined {
  const t = useText();
  const { user, channel } = pane.conversation;
  const group = useGroup(channel);
  const may = useMay(group);
  const peer = useUser(user);
  if (listed?.state.closed !== undefined) return t("chat.closed");
  if (peer?.is_system) return t("chat.systemOnly");
  if (group?.my_role === null) return t("chat.notMember");
  if (group?.all_muted && !may("mute_all")) return t("chat.mutedAll");
  if (group?.muted_until_at && group.muted_until_at > Date.now()) return t("chat.mutedUntil", { when: formatDateTime(group.muted_until_at) });
  return undefined;
}
