//! One device's connection: the handshake that lets it in, and the session that serves it over a [`Transport`].

pub(crate) mod handshake;
pub(crate) mod session;
pub(crate) mod transport;

pub(crate) use transport::{LINGER, Transport, TransportError};
