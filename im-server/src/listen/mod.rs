//! The transports: each accepts connections and turns them into [`crate::link::Link`]s.

pub(crate) mod quic;
pub(crate) mod websocket;
