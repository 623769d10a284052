//! Numbers that both sides of a connection must agree on. Unless stated, a server may set its own, and says so in
//! `Welcome`.

/// The largest frame in either direction, its length prefix not counted. 64 KiB: text and references fit, files
/// do not belong into messages.
pub const MAX_FRAME_BYTES: usize = 64 * 1024;

/// The largest content of a message, encoded: what frames take beside it, with the longest ids, fits as well, wherever the
/// message comes to. Fixed.
pub const MAX_CONTENT_BYTES: usize = MAX_FRAME_BYTES - 512;

/// The longest text, in bytes of UTF-8, that fits into a content with nothing beside it. Fixed.
pub const MAX_TEXT_BYTES: usize = 65_000;

/// The largest frame before a device is known: `Hello`, which is mostly its token. Fixed.
pub const MAX_HELLO_BYTES: usize = 8 * 1024;

/// The longest length prefix: a 32-bit varint. Fixed.
pub const MAX_PREFIX_BYTES: usize = 5;

/// The longest user id. Fixed.
pub const MAX_USER_ID_BYTES: usize = 64;

/// The longest channel id. Fixed.
pub const MAX_CHANNEL_ID_BYTES: usize = 64;

/// The longest device id. Fixed.
pub const MAX_DEVICE_ID_BYTES: usize = 64;

/// The longest server id. Fixed.
pub const MAX_SERVER_ID_BYTES: usize = 64;

/// How many publishes of one connection may wait for their results at once.
pub const MAX_INFLIGHT_PUBLISHES: u32 = 64;

/// How many requests of one connection may wait for their responses at once. Fixed.
pub const MAX_INFLIGHT_REQUESTS: usize = 8;

/// How many users one connection may watch at once: a list of friends, or the members of some groups. Fixed.
pub const MAX_WATCHED_USERS: usize = 500;

/// The longest reason in a close; WebSocket's close frame holds 123 bytes (RFC 6455, section 5.5). Fixed.
pub const MAX_CLOSE_REASON_BYTES: usize = 123;

/// How many users one message may mention; beyond, mention everybody. Fixed.
pub const MAX_MENTIONS: usize = 200;

/// The longest excerpt of a quoted message: a line or two on a phone. Fixed.
pub const MAX_EXCERPT_BYTES: usize = 512;

/// The longest reaction: the longest emoji sequences take some 40 bytes. Fixed.
pub const MAX_REACTION_BYTES: usize = 64;

/// How many different reactions of one user a message shows; beyond, the newest. Fixed.
pub const MAX_REACTIONS_PER_USER: usize = 20;

/// How many messages may be forwarded together. Fixed.
pub const MAX_FORWARDED_ENTRIES: usize = 100;

/// How deep bundles of forwarded messages may lie in each other; 1: none inside another. Fixed.
pub const MAX_FORWARDED_DEPTH: usize = 4;

/// How many parts the waveform of a voice message has at most. Fixed.
pub const MAX_WAVEFORM_BYTES: usize = 256;

/// The longest URL of media and cards. Fixed.
pub const MAX_URL_BYTES: usize = 2048;

/// How many parameters a notice may have. Fixed.
pub const MAX_NOTICE_PARAMETERS: usize = 32;

/// The longest name of an application's kind of content that counts, for whoever asks for kinds. Fixed.
pub const MAX_CUSTOM_KIND_BYTES: usize = 128;

/// How many kinds of content a request may name: more than there are, without those of applications. Fixed.
pub const MAX_KINDS: usize = 32;

/// The most entries, conversations or findings in one response. Fixed.
pub const MAX_PAGE: usize = 200;

/// How many of them come where a request names no limit. Fixed.
pub const USUAL_PAGE: usize = 50;

/// The longest text that is searched for: some words, not a page. Fixed.
pub const MAX_SEARCH_BYTES: usize = 512;

/// The most words that are searched for at once. Fixed.
pub const MAX_SEARCH_WORDS: usize = 16;

/// The most channels that are searched at once. Fixed.
pub const MAX_SEARCH_CHANNELS: usize = 1024;

/// The most marks in one request. With drafts as long as they may be, the answer fits into a frame. Fixed.
pub const MAX_MARKS: usize = 32;

/// The longest draft. Some hundred words: what is longer stays on the device that it was typed on. Fixed.
pub const MAX_DRAFT_BYTES: usize = 1024;

/// The highest place in a log that can be marked or acknowledged: a store may count in floating point. No log gets there.
/// Fixed.
pub const MAX_SEQ: u64 = (1 << 53) - 1;

/// In how many conversations of a user something may be set, unless the back end's store of conversations is given another
/// limit. Nothing is forgotten there: setting something in one more is refused. It bounds what one user's devices can have
/// stored, which is more than a shop's customers.
pub const MAX_CONVERSATIONS: usize = 65_536;

/// Unread messages of one conversation are counted up to here. Fixed.
pub const MAX_UNREAD: u32 = 999;

/// How many of the unread messages of one conversation are listed by their places, the newest. Fixed.
pub const MAX_LISTED_UNREAD: usize = 100;

/// The most readers of a message that a device is told by name: they fit into a frame. Fixed.
pub const MAX_READERS: usize = 500;

/// In channels with more members than this, members are not told at once how far others have read: they ask. Fixed.
pub const MAX_TOLD_MEMBERS: usize = 100;

/// The most cursors of one acknowledgement that count: as many logs as a device follows. Fixed.
pub const MAX_ACK_CURSORS: usize = 4096;

/// How many acknowledgements (device and log) are remembered of one user; beyond, the ones that were not repeated for the
/// longest time are forgotten. Fixed.
pub const MAX_ACKS_PER_USER: usize = 1024;

/// The most rooms that a connection is in. Fixed.
pub const MAX_ROOMS: usize = 256;

/// The most entries that come with a join. Fixed.
pub const MAX_RECENT: usize = 200;

/// The largest `Signal`, encoded. Fixed.
pub const MAX_SIGNAL_BYTES: usize = 4096;

/// How many signals a user's devices on one server may send in a second, in the long run. Fixed.
pub const SIGNALS_PER_SECOND: u32 = 20;

/// How many signals they may send at once: the dozens of candidates with which a call begins. Fixed.
pub const SIGNALS_AT_ONCE: u32 = 100;

/// How many syncs a user's devices on one server may ask for in a second. Fixed.
pub const SYNCS_PER_SECOND: u32 = 20;

/// How many requests a user's devices on one server may send in a second, in the long run. Fixed.
pub const REQUESTS_PER_SECOND: u32 = 100;

/// How many requests they may send at once: a conversation that is read from its beginning. Fixed.
pub const REQUESTS_AT_ONCE: u32 = 1000;

/// How many acknowledgements a user's devices on one server may send in a second. Fixed.
pub const ACKS_PER_SECOND: u32 = 20;

/// The largest WebSocket message for a given frame limit: four full frames. A sender puts no more than this into one
/// message. Fixed.
pub const fn max_message_bytes(max_frame_bytes: usize) -> usize {
    4 * (max_frame_bytes + MAX_PREFIX_BYTES)
}
