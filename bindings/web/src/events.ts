import type { ImError } from "./errors.js";
import type { LogName, MessageId, Position } from "./ids.js";
import type { Content, ConversationState, Device, Presence, ReadReceipt, Signalled } from "./proto.js";

/** A received message. */
export interface ReceivedMessage {
  readonly id: MessageId;
  /** The user that sent it; `undefined` for the back end. */
  readonly from?: string | undefined;
  /** The user that it is addressed to; `undefined` if this user is one of several, or if it went to a channel. */
  readonly to?: string | undefined;
  /** The channel that it was sent to. */
  readonly channel?: string | undefined;
  /** Has no known kind if it is from a newer version: show a placeholder. */
  readonly content: Content;
  /** Its position in its log; 0 if it is in none. */
  readonly seq: number;
  /** Its position, if it is in a log that this device follows. */
  readonly position?: Position | undefined;
  /**
   * The local id of the send of this device that it originates from, also after a restart. Use it to replace a message that is
   * shown as pending.
   */
  readonly localId?: number | undefined;
}

/** The reason why the client stopped. */
export type StopCause = "server" | "token" | "other_user" | "protocol";

/** The state of the connection. */
export type ConnectionState = "disconnected" | "waiting" | "connecting" | "connected" | "stopped" | "closed";

/** An event for the application. */
export type ClientEvent =
  | { readonly type: "connected"; readonly user: string; readonly endpoint: string }
  /** `retryInMs` is `Infinity` after {@link Client.disconnect}. */
  | { readonly type: "disconnected"; readonly code?: number | undefined; readonly reason: string; readonly retryInMs: number }
  /** The client does not connect again until `connect` is called. */
  | { readonly type: "stopped"; readonly cause: StopCause; readonly code?: number | undefined; readonly reason: string }
  /** Everything that was in the logs when the connection began has arrived. */
  | { readonly type: "up_to_date" }
  | { readonly type: "message"; readonly message: ReceivedMessage }
  /** The known part of a log does not lead to what follows: the log continues after `position`. Earlier entries are in the history. */
  | { readonly type: "reset"; readonly position: Position; readonly reason: ResetCause }
  | { readonly type: "sent"; readonly localId: number; readonly messageId: MessageId; readonly answer: Uint8Array }
  | { readonly type: "send_failed"; readonly localId: number; readonly error: ImError }
  | { readonly type: "signal"; readonly signal: Signalled }
  | { readonly type: "presence"; readonly presence: Presence }
  | { readonly type: "room_left"; readonly channel: string; readonly cause: "kicked" | "closed" | "refused"; readonly reason: string }
  /** A conversation was read or changed, by this user or by the other one. */
  | { readonly type: "conversations_changed"; readonly states: readonly ConversationState[] }
  /** A member has read a channel. */
  | { readonly type: "channel_read"; readonly receipt: ReadReceipt }
  /** The device's state could not be saved. The client tries again. */
  | { readonly type: "store_failed"; readonly error: ImError }
  /**
   * The store keeps failing, or another tab has taken it: this client continues in memory, as a device of its own. Messages that
   * it sends from now on are lost with the page; those sent before stay in the store.
   */
  | { readonly type: "store_lost"; readonly error: ImError };

/** The reason why a log continues elsewhere; `missed`: this tab slept while another one received. */
export type ResetCause = "new" | "trimmed" | "forked" | "left" | "missed";

/** The position of an event, which the application acknowledges. */
export type { LogName, Position, Device };
