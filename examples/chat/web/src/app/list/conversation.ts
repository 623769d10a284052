import type { Conversation, ListedConversation, ReceivedMessage } from "@im-sdk/client";

export const isSame = (one: Conversation, other: Conversation): boolean => one.user === other.user && one.channel === other.channel;

/** Returns a string that names a conversation: for keys. */
export const keyOf = ({ user, channel }: Conversation): string => (user === undefined ? `#${channel}` : `@${user}`);

export function isMuted({ muted, mutedUntilMs }: ListedConversation["state"], nowMs = Date.now()): boolean {
  return muted && (mutedUntilMs === 0 || nowMs < mutedUntilMs);
}

/** Returns the conversation of `me` that a message belongs to. */
export function conversationOfMessage({ from, to, channel }: ReceivedMessage, me: string): Conversation | undefined {
  if (channel !== undefined) return { channel };
  const user = from === me ? to : from;
  return user === undefined ? undefined : { user };
}
