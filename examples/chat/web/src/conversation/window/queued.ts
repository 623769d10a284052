import type { Content, MessageId, QueuedMessage, ReactionGroup } from "@im-sdk/client";
import type { MessageView } from "./entries";

type Change = NonNullable<Content["change"]>;

/** Shows changes that wait to be sent as if they had come back already. Those that failed are not shown. */
export function withQueued(messages: readonly MessageView[], queued: readonly QueuedMessage[], me: string): readonly MessageView[] {
  const changes = new Map<MessageId, Change[]>();
  for (const { content, state } of queued) {
    if (!content.change || state === "failed") continue;
    const { messageId } = content.change;
    changes.set(messageId, [...(changes.get(messageId) ?? []), content.change]);
  }
  if (changes.size === 0) return messages;
  return messages.flatMap((message) => {
    const own = changes.get(message.id);
    if (!own) return [message];
    if (own.some(({ deleteForMe }) => deleteForMe)) return [];
    return [own.reduce((view, change) => changed(view, change, me), message)];
  });
}

function changed(view: MessageView, change: Change, me: string): MessageView {
  if (view.recalled) return view;
  if (change.recall) return { ...view, recalled: { change: 0n, by: me }, content: undefined, reactions: [] };
  if (change.edit) return { ...view, content: change.edit, isEdited: true };
  if (change.pin) return { ...view, isPinned: !change.pin.removed };
  if (change.reaction) return { ...view, reactions: react(view.reactions, change.reaction.emoji, change.reaction.removed, me) };
  return view;
}

function react(groups: readonly ReactionGroup[], emoji: string, isRemoved: boolean, me: string): readonly ReactionGroup[] {
  const others = groups.map((group) => (group.emoji === emoji ? { emoji, users: group.users.filter((user) => user !== me) } : group));
  if (isRemoved) return others.filter(({ users }) => users.length > 0);
  if (!others.some((group) => group.emoji === emoji)) return [...others, { emoji, users: [me] }];
  return others.map((group) => (group.emoji === emoji ? { emoji, users: [...group.users, me] } : group));
}
