import type { Conversation } from "@im-sdk/client";
import { useFriends, useGroup, useUser } from "../api";
import { useText } from "../text";

/** How a conversation is shown: the user, or the group. */
export interface Target {
  readonly id: string;
  readonly name: string;
  readonly avatar: string | null | undefined;
  readonly isGroup: boolean;
}

/** Returns how a conversation is shown. The name is the id until more is known. */
export function useTarget({ user: userId, channel }: Conversation): Target {
  const t = useText();
  const user = useUser(userId);
  const group = useGroup(channel);
  const friends = useFriends();
  if (userId === undefined) {
    return { id: channel, name: group?.my_remark || group?.name || t("group.unnamed"), avatar: group?.avatar, isGroup: true };
  }
  const remark = friends?.friends.find((friend) => friend.user.id === userId)?.remark;
  return { id: userId, name: remark || user?.name || userId, avatar: user?.avatar, isGroup: false };
}
