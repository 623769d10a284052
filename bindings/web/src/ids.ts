/** A message's id: 64 bits, too large for a JavaScript number. Ids are roughly in order of time. */
export type MessageId = bigint;

/** Milliseconds of the Unix epoch at which message ids begin. */
const ID_EPOCH_MS = 1735689600000;

/** Returns the time at which a message was sent, from its id, in milliseconds since the Unix epoch. */
export function sentAt(id: MessageId): number {
  return ID_EPOCH_MS + Number(id >> 22n);
}

/** A conversation from the view of a device: with a user, or in a channel. */
export type Conversation = { readonly user: string; readonly channel?: undefined } | { readonly channel: string; readonly user?: undefined };

/** The log of a channel; `""` for the user's inbox. */
export type LogName = string;

/** A position in a log. */
export interface Position {
  readonly log: LogName;
  readonly seq: number;
  /** The message at this position; 0 if unknown. */
  readonly id: MessageId;
}

const ID = /^[\x21-\x7a\x7c\x7e]{1,64}$/;

/** Returns whether a text can be a user id or a channel id: 1 to 64 printable ASCII characters without braces. */
export function isId(text: string): boolean {
  return ID.test(text);
}

/** Returns whether a text can be a device id. */
export function isDeviceId(text: string): boolean {
  return isId(text) && !text.includes("/");
}

/** Returns whether a conversation names one user or one channel by an id. */
export function isConversation(to: Conversation): boolean {
  return (to.user === undefined) !== (to.channel === undefined) && isId(to.user ?? to.channel ?? "");
}

/** Returns a string for a conversation, to use as a key of a map. */
export function keyOf(to: Conversation): string {
  return to.user === undefined ? `#${to.channel}` : `@${to.user}`;
}

/** Returns the conversation of a string from {@link keyOf}. */
export function conversationOf(key: string): Conversation {
  return key[0] === "#" ? { channel: key.slice(1) } : { user: key.slice(1) };
}
