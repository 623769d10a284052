//! The wire protocol between devices, servers and backends: messages, frames, ids, limits and
//! close codes.
//!
//! The crate does no I/O. `pb` holds the types that prost generates from `im/v1/*.proto`; the other
//! modules are the hand-written code around them. [`id`] parses ids once, at the edge; [`frame`]
//! splits a byte stream into frames; [`close`] tells how a device reconnects after a close;
//! [`limits`] has every number that both sides must agree on.
//!
//! `PROTOCOL.md`, in this crate's folder, describes the protocol for authors of clients in other
//! languages. A backend or a device in Rust needs little of this crate: `im_sdk` speaks the
//! protocol and re-exports [`id`] and [`limits`].
//!
//! ```
//! use im_proto::{frame, pb};
//!
//! let bytes = frame::encode(pb::frame::Body::Ping(pb::Ping { echo: 7 }));
//! let mut frames = frame::split(bytes, im_proto::limits::MAX_FRAME_BYTES);
//! let body = frames.next().unwrap()?;
//! assert_eq!(frame::decode(body)?, Some(pb::frame::Body::Ping(pb::Ping { echo: 7 })));
//! # Ok::<(), frame::FrameError>(())
//! ```

pub mod close;
mod content;
pub mod frame;
pub mod id;
#[cfg(feature = "serde")]
mod id_serde;
pub mod limits;

/// Types generated from `im/v1/*.proto`.
// Hidden: hundreds of generated names would obstruct a search of the documentation. PROTOCOL.md
// describes them.
#[doc(hidden)]
#[allow(missing_docs, unreachable_pub, clippy::all)]
pub mod pb {
    include!(concat!(env!("OUT_DIR"), "/im.v1.rs"));

    pub use crate::content::Content;
    pub mod content {
        pub use crate::content::Body;
    }
}

/// The supported protocol versions, oldest and newest.
pub const PROTOCOL_VERSIONS: std::ops::RangeInclusive<u32> = 1..=1;

/// The ALPN name of QUIC connections (RFC 7301).
pub const ALPN: &[u8] = b"im/1";

/// The WebSocket subprotocol (RFC 6455, section 1.9).
pub const WEBSOCKET_PROTOCOL: &str = "im.v1";
