import type { Client, ConversationChange, ListedConversation } from "@im-sdk/client";
import { useClient } from "@im-sdk/client/react";
import { useState, type ReactNode } from "react";
import { errorText } from "../../api";
import { Button, Dialog, Menu, useToast, type Anchor, type MenuItem } from "../../design";
import { useText } from "../../text";
import { navigate, pathOf, useRoute } from "../routes";
import { useTarget } from "../useTarget";
import { isMuted, isSame } from "./conversation";

const HOUR_MS = 3_600_000;

/** Marks everything in a conversation as read. */
export async function markAllRead(client: Client, { conversation, state, last, unread }: ListedConversation): Promise<void> {
  if (unread > 0 && last) await client.markRead(conversation, last);
  if (state.markedUnread) await client.mark(conversation, { markedUnread: false });
}

export interface ConversationMenu {
  readonly open: (listed: ListedConversation, anchor: Anchor) => void;
  readonly menu: ReactNode;
}

/** Returns the menu of conversations, and a function that opens it for one of them. */
export function useConversationMenu(): ConversationMenu {
  const [opened, setOpened] = useState<{ readonly listed: ListedConversation; readonly anchor: Anchor }>();
  const [deleting, setDeleting] = useState<ListedConversation>();
  const menu = (
    <>
      {opened && <ItemMenu {...opened} onClose={() => setOpened(undefined)} onDelete={() => setDeleting(opened.listed)} />}
      {deleting && <DeleteDialog listed={deleting} onClose={() => setDeleting(undefined)} />}
    </>
  );
  const [open] = useState(() => (listed: ListedConversation, anchor: Anchor) => setOpened({ listed, anchor }));
  return { open, menu };
}

function ItemMenu({ listed, anchor, onClose, onDelete }: { readonly listed: ListedConversation; readonly anchor: Anchor; readonly onClose: () => void; readonly onDelete: () => void }): ReactNode {
  const t = useText();
  const client = useClient();
  const toast = useToast();
  const target = useTarget(listed.conversation);
  const { conversation, state, unread, last } = listed;
  const report = (error: unknown): void => toast(errorText(error), { kind: "danger" });
  const mark = (change: ConversationChange): void => void client.mark(conversation, change).catch(report);
  const muted = isMuted(state);
  const isUnread = unread > 0 || state.markedUnread;
  const items: readonly (MenuItem | undefined)[] = [
    isUnread
      ? { icon: "check", label: t("list.markRead"), onSelect: () => void markAllRead(client, listed).catch(report) }
      : { icon: "unread", label: t("list.markUnread"), onSelect: () => mark({ markedUnread: true }) },
    { icon: state.pinned ? "pin-off" : "pin", label: t(state.pinned ? "list.unpin" : "list.pin"), onSelect: () => mark({ pinned: !state.pinned }) },
    undefined,
    ...(muted
      ? [{ icon: "bell", label: t("list.unmute"), onSelect: () => mark({ muted: false }) } as const]
      : [
          { icon: "bell-off", label: t("list.muteHour"), onSelect: () => mark({ muted: true, mutedUntilMs: Date.now() + HOUR_MS }) } as const,
          { icon: "bell-off", label: t("list.muteEight"), onSelect: () => mark({ muted: true, mutedUntilMs: Date.now() + 8 * HOUR_MS }) } as const,
          { icon: "bell-off", label: t("list.mute"), onSelect: () => mark({ muted: true, mutedUntilMs: 0 }) } as const,
        ]),
    conversation.channel === undefined ? undefined : { icon: "at", label: t("list.mentionsOnly"), isChecked: state.mentionsOnly, onSelect: () => mark({ mentionsOnly: !state.mentionsOnly }) },
    undefined,
    { icon: "info", label: t("info.open"), onSelect: () => navigate(pathOf(conversation, undefined, true)) },
    { icon: "archive", label: t("list.hide"), isDisabled: !last, onSelect: () => mark({ hidden: last?.seq ?? 0 }) },
    { icon: "trash", label: t("list.delete"), isDanger: true, isDisabled: !last, onSelect: onDelete },
  ];
  return <Menu label={t("list.actions", { name: target.name })} anchor={anchor} onClose={onClose} items={items.filter((item, index) => item !== undefined || items[index - 1] !== undefined)} />;
}

function DeleteDialog({ listed: { conversation, last }, onClose }: { readonly listed: ListedConversation; readonly onClose: () => void }): ReactNode {
  const t = useText();
  const client = useClient();
  const toast = useToast();
  const route = useRoute();
  const { name } = useTarget(conversation);
  const remove = (): void => {
    onClose();
    void client.mark(conversation, { deleted: last?.seq ?? 0 }).catch((error: unknown) => toast(errorText(error), { kind: "danger" }));
    if (route.name === "conversation" && isSame(route.conversation, conversation)) navigate("/", { replace: true });
  };
  return (
    <Dialog
      title={t("list.deleteTitle", { name })}
      size="small"
      closeLabel={t("close")}
      onClose={onClose}
      footer={
        <>
          <Button onClick={onClose}>{t("cancel")}</Button>
          <Button kind="danger" onClick={remove}>
            {t("list.delete")}
          </Button>
        </>
      }
    >
      <p>{t("list.deleteText")}</p>
    </Dialog>
  );
}
