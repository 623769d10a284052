import type { ImError } from "./errors.js";
import type { LogName, MessageId, Position } from "./ids.js";
import type { Content, ConversationState, Device, Presence, ReadReceipt, Signalled } from "./proto.js";

/** A message as it came. */
export interface ReceivedMessage {
  readonly id: MessageId;
  /** The user that sent it; `undefined`: the back end. */
  readonly from?: string | undefined;
  /** The user that it is addressed to; `undefined`: one of several, this one, or a channel. */
  readonly to?: string | undefined;
  /** The channel that it was sent to. */
  readonly channel?: string | undefined;
  /** Without a known kind where a newer version made it: show a placeholder. */
  readonly content: Content;
  /** Its place in its log; 0: it is in none. */
  readonly seq: number;
  /** Where it is in a log that this device follows. */
  readonly position?: Position | undefined;
  /** The send of this device that it came of, by which a message that is shown as pending is known again, also after a restart. */
  readonly localId?: number | undefined;
}

/** Why a connection ended for good. */
export type StopCause = "server" | "token" | "other_user" | "protocol";

/** Where the connection stands. */
export type ConnectionState = "disconnected" | "waiting" | "connecting" | "connected" | "stopped" | "closed";

/** Something that the application is told. */
export type ClientEvent =
  | { readonly type: "connected"; readonly user: string; readonly endpoint: string }
  /** `retryInMs` is `Infinity` after {@link Client.disconnect}. */
  | { readonly type: "disconnected"; readonly code?: number | undefined; readonly reason: string; readonly retryInMs: number }
  /** There is no further attempt until `connect` is called. */
  | { readonly type: "stopped"; readonly cause: StopCause; readonly code?: number | undefined; readonly reason: string }
  /** Everything has come that was there when the connection began. */
  | { readonly type: "up_to_date" }
  | { readonly type: "message"; readonly message: ReceivedMessage }
  /** What is known of a log does not lead on; it goes on behind `position`. What lies before it can be had from the history. */
  | { readonly type: "reset"; readonly position: Position; readonly reason: ResetCause }
  | { readonly type: "sent"; readonly localId: number; readonly messageId: MessageId; readonly answer: Uint8Array }
  | { readonly type: "send_failed"; readonly localId: number; readonly error: ImError }
  | { readonly type: "signal"; readonly signal: Signalled }
  | { readonly type: "presence"; readonly presence: Presence }
  | { readonly type: "room_left"; readonly channel: string; readonly cause: "kicked" | "closed" | "refused"; readonly reason: string }
  /** Something was read or set in conversations, by this user or by the other one. */
  | { readonly type: "conversations_changed"; readonly states: readonly ConversationState[] }
  /** A member has read a channel. */
  | { readonly type: "channel_read"; readonly receipt: ReadReceipt }
  /** What the device has to remember could not be saved. It is tried again. */
  | { readonly type: "store_failed"; readonly error: ImError }
  /**
   * The store stays away, or another tab has taken it: this client goes on in memory, as a device of its own. What it sends from here on
   * is lost with the page; what it sent before stays in the store.
   */
  | { readonly type: "store_lost"; readonly error: ImError };

/** Why a log goes on elsewhere; `missed`: this tab slept while another one received. */
export type ResetCause = "new" | "trimmed" | "forked" | "left" | "missed";

/** Says that the application has dealt with an event's position. */
export type { LogName, Position, Device };
