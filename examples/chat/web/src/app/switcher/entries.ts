import { sentAt, type Conversation, type FoundPage, type ListedConversation } from "@im-sdk/client";
import { useClient, useConversations } from "@im-sdk/client/react";
import { useCallback } from "react";
import { useFriends, useGroups, useMe, useResource, useUsers } from "../../api";
import { formatWhen, useText } from "../../text";
import { conversationOfMessage, keyOf } from "../list/conversation";
import { usePreview } from "../list/preview";
import { pathOf } from "../routes";
import { useSearch, useSettled } from "../useSearch";

/** Something that the switcher leads to. */
export interface SwitcherEntry {
  readonly key: string;
  readonly section: "conversations" | "people" | "messages";
  readonly id: string;
  readonly name: string;
  readonly avatar: string | null | undefined;
  readonly note: string;
  readonly path: string;
}

const MOST_CONVERSATIONS = 8;
const MOST_FOUND = 6;
const SHORTEST_SEARCH = 2;
const NOTHING: FoundPage = { messages: [] };

/** Returns what a text may mean: conversations at once, then people and groups, then messages. */
export function useSwitcherEntries(text: string): { readonly entries: readonly SwitcherEntry[]; readonly isLoading: boolean } {
  const t = useText();
  const me = useMe();
  const client = useClient();
  const preview = usePreview();
  const { conversations } = useConversations();
  const nameOf = useNaming(conversations);
  const wanted = text.trim().toLocaleLowerCase();
  const found = useSearch(text);
  const query = useSettled(text.trim());
  const search = useCallback(() => client.search({ text: query, limit: MOST_FOUND }), [client, query]);
  const messages = useResource(query.length < SHORTEST_SEARCH ? undefined : `message-search/${query}`, search);

  const known = conversations.filter(({ conversation }) => matches(nameOf(conversation), wanted) || matches(conversation.user ?? "", wanted)).slice(0, MOST_CONVERSATIONS);
  const entryOf = (conversation: Conversation, section: SwitcherEntry["section"], note: string, path = pathOf(conversation)): SwitcherEntry => {
    const { name, avatar } = nameOf(conversation);
    return { key: `${section}${path}${note}`, section, id: conversation.user ?? conversation.channel, name, avatar, note, path };
  };
  const keys = new Set(known.map(({ conversation }) => keyOf(conversation)));
  const others: SwitcherEntry[] = [];
  for (const user of wanted === "" ? [] : (found.value?.people ?? [])) {
    if (keys.has(`@${user.id}`) || user.id === me.id || user.is_system) continue;
    others.push({ key: `people/${user.id}`, section: "people", id: user.id, name: user.name, avatar: user.avatar, note: user.id, path: pathOf({ user: user.id }) });
  }
  for (const group of wanted === "" ? [] : (found.value?.groups ?? [])) {
    if (keys.has(`#${group.id}`) || group.my_role === null) continue;
    others.push({ key: `people/#${group.id}`, section: "people", id: group.id, name: group.name, avatar: group.avatar, note: t("group.memberCount", { count: group.member_count }), path: pathOf({ channel: group.id }) });
  }
  const hits = (wanted === "" ? NOTHING : (messages.value ?? NOTHING)).messages.flatMap((message) => {
    const conversation = conversationOfMessage(message, me.id);
    return conversation ? [entryOf(conversation, "messages", `${formatWhen(sentAt(message.id))} · ${preview(message.content)}`, pathOf(conversation, message.seq))] : [];
  });
  return {
    entries: [...known.map(({ conversation, last }) => entryOf(conversation, "conversations", preview(last?.content))), ...others.slice(0, MOST_FOUND), ...hits],
    isLoading: wanted !== "" && (found.isLoading || messages.isLoading),
  };
}

type Naming = (conversation: Conversation) => { readonly name: string; readonly avatar: string | null | undefined };

function useNaming(conversations: readonly ListedConversation[]): Naming {
  const t = useText();
  const users = useUsers(conversations.flatMap(({ conversation }) => conversation.user ?? []));
  const friends = useFriends()?.friends;
  const groups = useGroups().value;
  return ({ user, channel }) => {
    if (user === undefined) {
      const group = groups?.find(({ id }) => id === channel);
      return { name: group?.my_remark || group?.name || t("group.unnamed"), avatar: group?.avatar };
    }
    const remark = friends?.find((friend) => friend.user.id === user)?.remark;
    return { name: remark || users.get(user)?.name || user, avatar: users.get(user)?.avatar };
  };
}

function matches(of: string | { readonly name: string }, wanted: string): boolean {
  return (typeof of === "string" ? of : of.name).toLocaleLowerCase().includes(wanted);
}
