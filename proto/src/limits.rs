//! Numbers that both sides of a connection must agree on. Unless stated, a server may set its own, and says so in
//! `Welcome`.

/// The largest frame in either direction, its length prefix not counted. 64 KiB: text and references fit, files
/// do not belong into messages.
pub const MAX_FRAME_BYTES: usize = 64 * 1024;

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

/// The largest WebSocket message for a given frame limit: four full frames. A sender puts no more than this into one
/// message. Fixed.
pub const fn max_message_bytes(max_frame_bytes: usize) -> usize {
    4 * (max_frame_bytes + MAX_PREFIX_BYTES)
}
