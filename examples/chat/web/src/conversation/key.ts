import type { Conversation, ReceivedMessage } from "@im-sdk/client";

/** Returns a string that names a conversation, for maps and local storage. */
export function keyOf({ user, channel }: Conversation): string {
  return user === undefined ? `#${channel}` : `@${user}`;
}

/** Returns whether two names are of the same conversation. */
export function isSame(one: Conversation, other: Conversation): boolean {
  return one.user === other.user && one.channel === other.channel;
}

/** Returns whether a message or a change belongs to a conversation of `me`. */
export function isIn(conversation: Conversation, message: ReceivedMessage, me: string): boolean {
  const { channel, from, to, content } = message;
  if (conversation.channel !== undefined) return (channel ?? content.change?.channel) === conversation.channel;
  return channel === undefined && (from === me ? to : from) === conversation.user;
}
