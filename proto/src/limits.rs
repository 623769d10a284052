//! Limits that both sides of a connection must agree on. Unless marked as fixed, a server may set
//! its own, and states it in `Welcome`.

/// The maximum size of a frame in either direction, without its length prefix. 64 KiB: text and
/// references fit; files do not belong into messages.
pub const MAX_FRAME_BYTES: usize = 64 * 1024;

/// The maximum size of an encoded content: the other parts of every frame that carries it, with the
/// longest ids, fit as well. Fixed.
pub const MAX_CONTENT_BYTES: usize = MAX_FRAME_BYTES - 512;

/// The maximum length of a text, in bytes of UTF-8, in a content with nothing else. Fixed.
pub const MAX_TEXT_BYTES: usize = 65_000;

/// The maximum size of a frame before a device is authenticated: `Hello`, which is mostly its
/// token. Fixed.
pub const MAX_HELLO_BYTES: usize = 8 * 1024;

/// The maximum size of a length prefix: a 32-bit varint. Fixed.
pub const MAX_PREFIX_BYTES: usize = 5;

/// The maximum length of a user id. Fixed.
pub const MAX_USER_ID_BYTES: usize = 64;

/// The maximum length of a channel id. Fixed.
pub const MAX_CHANNEL_ID_BYTES: usize = 64;

/// The maximum length of a device id. Fixed.
pub const MAX_DEVICE_ID_BYTES: usize = 64;

/// The maximum length of a server id. Fixed.
pub const MAX_SERVER_ID_BYTES: usize = 64;

/// The maximum number of publishes of one connection that wait for their results.
pub const MAX_INFLIGHT_PUBLISHES: u32 = 64;

/// The maximum number of requests of one connection that wait for their responses. Fixed.
pub const MAX_INFLIGHT_REQUESTS: usize = 8;

/// The maximum number of users that one connection watches: a list of friends, or the members of
/// some groups. Fixed.
pub const MAX_WATCHED_USERS: usize = 500;

/// The maximum length of a close reason; WebSocket's close frame holds 123 bytes (RFC 6455, section
/// 5.5). Fixed.
pub const MAX_CLOSE_REASON_BYTES: usize = 123;

/// The maximum number of users mentioned by one message; beyond, mention everybody. Fixed.
pub const MAX_MENTIONS: usize = 200;

/// The maximum length of an excerpt of a quoted message: a line or two on a phone. Fixed.
pub const MAX_EXCERPT_BYTES: usize = 512;

/// The maximum length of a reaction: the longest emoji sequences take some 40 bytes. Fixed.
pub const MAX_REACTION_BYTES: usize = 64;

/// The maximum number of different reactions of one user that a message shows; beyond, the newest.
/// Fixed.
pub const MAX_REACTIONS_PER_USER: usize = 20;

/// The maximum number of messages forwarded together. Fixed.
pub const MAX_FORWARDED_ENTRIES: usize = 100;

/// The maximum nesting of bundles of forwarded messages; 1 means no nesting. Fixed.
pub const MAX_FORWARDED_DEPTH: usize = 4;

/// The maximum number of parts in the waveform of a voice message. Fixed.
pub const MAX_WAVEFORM_BYTES: usize = 256;

/// The maximum length of a URL of media and cards. Fixed.
pub const MAX_URL_BYTES: usize = 2048;

/// The maximum number of parameters of a notice. Fixed.
pub const MAX_NOTICE_PARAMETERS: usize = 32;

/// The maximum length of an application's kind name that filters compare. Fixed.
pub const MAX_CUSTOM_KIND_BYTES: usize = 128;

/// The maximum number of kinds in a request: more than exist, without those of applications. Fixed.
pub const MAX_KINDS: usize = 32;

/// The maximum number of entries, conversations or matches in one response. Fixed.
pub const MAX_PAGE: usize = 200;

/// The default number of them, for a request without a limit. Fixed.
pub const USUAL_PAGE: usize = 50;

/// The maximum length of a search text: some words, not a page. Fixed.
pub const MAX_SEARCH_BYTES: usize = 512;

/// The maximum number of words in a search text. Fixed.
pub const MAX_SEARCH_WORDS: usize = 16;

/// The maximum number of channels searched at once. Fixed.
pub const MAX_SEARCH_CHANNELS: usize = 1024;

/// The maximum number of marks in one request. With drafts of the maximum length, the response fits
/// into a frame. Fixed.
pub const MAX_MARKS: usize = 32;

/// The maximum length of a draft: some hundred words. A longer draft stays on the device where it
/// was typed. Fixed.
pub const MAX_DRAFT_BYTES: usize = 1024;

/// The highest seq that can be marked or acknowledged: a store may count in floating point. No log
/// gets there. Fixed.
pub const MAX_SEQ: u64 = (1 << 53) - 1;

/// The maximum number of a user's conversations with state, unless the backend's store of
/// conversations is given another limit. Nothing is forgotten at the limit: a change to one more is
/// refused. It bounds what one user's devices can have stored, and exceeds the customers of a shop.
pub const MAX_CONVERSATIONS: usize = 65_536;

/// The number up to which unread messages of one conversation are counted. Fixed.
pub const MAX_UNREAD: u32 = 999;

/// The maximum number of unread messages of one conversation listed by seq, the newest. Fixed.
pub const MAX_LISTED_UNREAD: usize = 100;

/// The maximum number of readers of a message returned to a device by name: they fit into a frame.
/// Fixed.
pub const MAX_READERS: usize = 500;

/// The maximum number of members of a channel whose members are told at once how far others have
/// read. In larger channels they ask. Fixed.
pub const MAX_TOLD_MEMBERS: usize = 100;

/// The maximum number of cursors of one acknowledgement that count: as many logs as a device
/// follows. Fixed.
pub const MAX_ACK_CURSORS: usize = 4096;

/// The maximum number of acknowledgements (device and log) remembered for one user. Beyond, those
/// that were not repeated for the longest time are forgotten. Fixed.
pub const MAX_ACKS_PER_USER: usize = 1024;

/// The maximum number of rooms that a connection is in. Fixed.
pub const MAX_ROOMS: usize = 256;

/// The maximum number of entries that come with a join. Fixed.
pub const MAX_RECENT: usize = 200;

/// The maximum size of an encoded `Signal`. Fixed.
pub const MAX_SIGNAL_BYTES: usize = 4096;

/// The sustained rate of signals of a user's devices on one server, in a second. Fixed.
pub const SIGNALS_PER_SECOND: u32 = 20;

/// The burst of signals: the dozens of candidates with which a call begins. Fixed.
pub const SIGNALS_AT_ONCE: u32 = 100;

/// The rate of syncs of a user's devices on one server, in a second. Fixed.
pub const SYNCS_PER_SECOND: u32 = 20;

/// The sustained rate of requests of a user's devices on one server, in a second. Fixed.
pub const REQUESTS_PER_SECOND: u32 = 100;

/// The burst of requests: a conversation that is read from its beginning. Fixed.
pub const REQUESTS_AT_ONCE: u32 = 1000;

/// The rate of acknowledgements of a user's devices on one server, in a second. Fixed.
pub const ACKS_PER_SECOND: u32 = 20;

/// Returns the maximum size of a WebSocket message for a given frame limit: four full frames. A
/// sender puts no more than this into one message. Fixed.
pub const fn max_message_bytes(max_frame_bytes: usize) -> usize {
    4 * (max_frame_bytes + MAX_PREFIX_BYTES)
}
