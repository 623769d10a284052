/**
 * The client of the IM SDK for browsers, web workers, Node, React Native and mini-programs.
 *
 * @packageDocumentation
 */
export * from "./client.js";
export { ConversationList, type ListedConversation, type Unread } from "./conversations.js";
export { type Init } from "./codec.js";
export { type ConversationChange } from "./core/marks.js";
export { type SendState } from "./core/outbox.js";
export { CloseCode, ImError, type ErrorCode, type Refusal } from "./errors.js";
export { type ClientEvent, type ConnectionState, type ReceivedMessage, type ResetCause, type StopCause } from "./events.js";
export { isId, sentAt, type Conversation, type LogName, type MessageId, type Position } from "./ids.js";
export { webSocket, type Socket, type SocketFactory, type SocketHandlers, type WebSocketClass, type WebSocketLike } from "./socket.js";
export { type TabChannel, type TabsPlatform } from "./tabs.js";
export { Timeline, ShownMessage, type ReactionGroup, type Recalled } from "./timeline.js";
export { IndexedDbStore, type IndexedDbOptions } from "./store/indexeddb.js";
export { MemoryStore } from "./store/memory.js";
export { MAX_OUTBOX, type Batch, type Saved, type SavedCursor, type SavedFailure, type SavedMarks, type SavedPublish, type Store } from "./store/store.js";
export * as proto from "./proto.js";
export { CallStep, RefusalKind, Terminal, type Content, type Conversations, type Device, type Presence, type Signalled } from "./proto.js";
