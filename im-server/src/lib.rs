//! The thin server: it holds devices' connections, registers their routes, and pushes what arrives on its own subject. It reads no
//! message, no history, no group; it can be killed at any time.
//!
//! ```text
//! transport/{websocket,quic} -> connection/handshake -> connection/session  (one task per connection)
//!                                                           ^ outbox           | publishes, requests, syncs, acks, signals
//!        bus: im.srv.<server> -> downstream/dispatch -> registry               v
//!                                                                      upstream/ lanes -> bus: im.up.*
//! ```
//!
//! Its parts use one another in one direction: server, transport, connection, context, downstream, upstream, registry, config.
//!
//! | to | see |
//! | --- | --- |
//! | run it as a program | `im-server --config FILE`; `im-server.example.toml` has every key, [`mod@file`] reads it |
//! | develop clients with nothing beside it | `im-server --dev`, `dev` |
//! | start with a backend and a device | [`im_sdk::guide::start`] |
//! | deploy, size and understand failures | [`im_sdk::guide::operating`] |
//!
//! Without the feature `dev`, which is on by default, neither the backend half of `im_sdk` nor its store on disk is linked.
//!
//! Embed it, for one process that does everything or for tests:
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use im_sdk::{cluster::Cluster, token::{TokenVerifier, VerificationKey, random_secret}};
//! use im_server::{Server, ServerConfig};
//!
//! let secret = random_secret(); // or your own, which the backend signs tokens with
//! let verifier = TokenVerifier::new("my-backend", "im", [VerificationKey::hs256("k1", &secret)?]);
//! let mut config = ServerConfig::new("im1", verifier);
//! config.websocket = Some("127.0.0.1:7800".parse()?);
//! let server = Server::start(config, Cluster::embedded()).await?;
//! println!("{:?}", server.endpoints());
//! server.shutdown().await;
//! # Ok(())
//! # }
//! ```

#[cfg(feature = "bench")]
#[doc(hidden)]
pub mod bench;
mod config;
mod connection;
mod context;
#[cfg(feature = "dev")]
pub mod dev;
mod downstream;
mod lifecycle;
mod logging;
mod registry;
mod server;
#[cfg(test)]
mod testing;
mod transport;
mod upstream;

pub use config::{InvalidConfig, Limits, ServerConfig, TlsConfig, file, warnings::config_warnings};
pub use context::StoreEpoch;
pub use lifecycle::StopReason;
pub use server::{Server, StartError};
pub use transport::{ListenError, fd_limit::fit_fd_limit, tls::TlsError};
