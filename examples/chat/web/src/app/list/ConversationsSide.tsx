import type { ListedConversation } from "@im-sdk/client";
import { useClient, useConversations } from "@im-sdk/client/react";
import { useState, type KeyboardEvent, type ReactNode } from "react";
import { errorText } from "../../api";
import { Button, EmptyState, Icon, MenuButton, Tabs, useToast } from "../../design";
import { useText } from "../../text";
import { useRoute } from "../routes";
import { openDialog } from "../shell/dialogs";
import { ListSkeleton } from "../shell/Frame";
import side from "../shell/Side.module.css";
import { isSame, keyOf } from "./conversation";
import { ConversationItem } from "./ConversationItem";
import styles from "./List.module.css";
import { markAllRead, useConversationMenu } from "./useConversationMenu";

type Filter = "all" | "unread" | "groups";

/** The list of conversations, with what is done to all of it. */
export function ConversationsSide(): ReactNode {
  const t = useText();
  const client = useClient();
  const toast = useToast();
  const { conversations, unread, isLoading, error } = useConversations();
  const [filter, setFilter] = useState<Filter>("all");
  const hasUnread = conversations.some((listed) => listed.unread > 0 || listed.state.markedUnread);
  const readAll = async (): Promise<void> => {
    try {
      await Promise.all(conversations.map((listed) => markAllRead(client, listed)));
    } catch (failure) {
      toast(errorText(failure), { kind: "danger" });
    }
  };
  return (
    <>
      <header className={side.header}>
        <h1>{t("area.chats")}</h1>
        <MenuButton
          icon="plus"
          label={t("list.new")}
          items={[
            { icon: "edit", label: t("list.newChat"), hint: "Ctrl K", onSelect: () => openDialog("switcher") },
            { icon: "people", label: t("group.create"), onSelect: () => openDialog("create-group") },
            { icon: "user-plus", label: t("people.add"), onSelect: () => openDialog("add-friend") },
          ]}
        />
        <MenuButton
          icon="more"
          label={t("more")}
          items={[
            { icon: "checks", label: t("list.markAllRead"), isDisabled: !hasUnread, onSelect: () => void readAll() },
            { icon: "keyboard", label: t("shortcuts.title"), hint: "?", onSelect: () => openDialog("shortcuts") },
          ]}
        />
      </header>
      <button type="button" className={styles.search} onClick={() => openDialog("switcher")}>
        <Icon name="search" size={18} />
        <span>{t("switcher.placeholder")}</span>
        <kbd>Ctrl K</kbd>
      </button>
      <Tabs<Filter>
        label={t("list.filter")}
        tabs={[
          { id: "all", label: t("list.all") },
          { id: "unread", label: t("list.unreadOnly"), count: unread.count },
          { id: "groups", label: t("list.groups") },
        ]}
        selected={filter}
        onSelect={setFilter}
      />
      {conversations.length === 0 && error ? (
        <EmptyState icon="offline" title={t("list.failed")} text={errorText(error)} />
      ) : conversations.length === 0 && isLoading ? (
        <div className={side.padded}>
          <ListSkeleton />
        </div>
      ) : (
        <Conversations conversations={conversations.filter((listed) => isIn(filter, listed))} filter={filter} />
      )}
    </>
  );
}

function isIn(filter: Filter, { conversation, unread, state }: ListedConversation): boolean {
  if (filter === "unread") return unread > 0 || state.markedUnread;
  return filter === "all" || conversation.channel !== undefined;
}

function Conversations({ conversations, filter }: { readonly conversations: readonly ListedConversation[]; readonly filter: Filter }): ReactNode {
  const t = useText();
  const route = useRoute();
  const { open, menu } = useConversationMenu();
  const current = route.name === "conversation" ? route.conversation : undefined;
  const [focused, setFocused] = useState<string>();
  const keys = conversations.map(({ conversation }) => keyOf(conversation));
  const isKnown = (key: string | undefined): key is string => key !== undefined && keys.includes(key);
  const currentKey = current && keyOf(current);
  const reachable = isKnown(focused) ? focused : isKnown(currentKey) ? currentKey : keys[0];
  if (conversations.length === 0) {
    return filter === "all" ? (
      <EmptyState icon="chat" title={t("list.empty")} text={t("list.emptyText")}>
        <Button kind="primary" icon="user-plus" onClick={() => openDialog("add-friend")}>
          {t("people.add")}
        </Button>
      </EmptyState>
    ) : (
      <EmptyState icon="check" title={t(filter === "unread" ? "list.allRead" : "list.noGroups")} />
    );
  }
  const move = (event: KeyboardEvent<HTMLElement>): void => {
    const at = keys.indexOf(reachable ?? "");
    const next = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: keys.length - 1 }[event.key];
    const key = next === undefined ? undefined : keys[next];
    if (key === undefined || event.altKey) return;
    event.preventDefault();
    setFocused(key);
    event.currentTarget.querySelector<HTMLElement>(`[data-conversation="${CSS.escape(key)}"] > a`)?.focus();
  };
  return (
    <nav className={styles.scroller} aria-label={t("area.chats")}>
      <ul onKeyDown={move}>
        {conversations.map((listed) => (
          <ConversationItem
            key={keyOf(listed.conversation)}
            listed={listed}
            isCurrent={current !== undefined && isSame(listed.conversation, current)}
            isReachable={keyOf(listed.conversation) === reachable}
            onMenu={open}
          />
        ))}
      </ul>
      {menu}
    </nav>
  );
}
