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

/// The largest WebSocket message for a given frame limit: four full frames. A sender puts no more than this into one
/// message. Fixed.
pub const fn max_message_bytes(max_frame_bytes: usize) -> usize {
    4 * (max_frame_bytes + MAX_PREFIX_BYTES)
}
