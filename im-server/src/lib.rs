//! The thin server: it holds devices' connections, registers their routes, and pushes what arrives on its own subject.
//! It reads no message, no history, no group; it can be killed at any time.
//!
//! ```text
//! listen/{websocket,quic} -> handshake -> session  (one task per connection)
//!                                            ^ outbox        | publishes, syncs, acknowledgements
//!        bus: im.srv.<server> -> deliver -> registry         v
//!                                                        upstream, sync, acks -> bus: im.up.*
//! ```
//!
//! | to | see |
//! | --- | --- |
//! | run it as a program | `im-server --config FILE`; `im-server.example.toml` has every key, [`mod@file`] reads it |
//! | develop clients with nothing beside it | `im-server --dev`, [`dev`] |
//! | start with a back end and a device | [`im_sdk::guide::start`] |
//! | deploy, size and understand failures | [`im_sdk::guide::operating`] |
//!
//! Embed it, for one process that does everything or for tests:
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use im_sdk::{cluster::Cluster, token::{TokenVerifier, VerificationKey, random_secret}};
//! use im_server::{Server, ServerConfig};
//!
//! let secret = random_secret(); // or your own, which the back end signs tokens with
//! let verifier = TokenVerifier::new("my-backend", "im", [VerificationKey::hs256("k1", &secret)?]);
//! let mut config = ServerConfig::new("im1", verifier);
//! config.websocket = Some("127.0.0.1:7800".parse()?);
//! let server = Server::start(config, Cluster::embedded()).await?;
//! println!("{:?}", server.endpoints());
//! server.shutdown().await;
//! # Ok(())
//! # }
//! ```

mod acks;
mod advice;
mod allowance;
mod answers;
mod arrivals;
mod audit;
mod back_ends;
mod batch;
#[cfg(feature = "bench")]
#[doc(hidden)]
pub mod bench;
mod bounded;
mod broadcast;
mod channels;
mod config;
mod deliver;
mod descriptors;
pub mod dev;
#[cfg(test)]
mod document;
mod drain;
pub mod file;
mod handshake;
mod haste;
mod hints;
mod holes;
mod isolation;
mod joined;
mod lease;
mod link;
mod listen;
mod merge;
mod occurrences;
mod outbox;
mod presence;
mod registry;
mod requests;
mod rollback;
mod server;
mod session;
mod shared;
mod signals;
mod strangers;
mod sync;
mod tls;
mod upstream;
mod users;
mod waiting;
mod woken;

pub use advice::advice;
pub use config::{InvalidConfig, Limits, ServerConfig, TlsConfig};
pub use descriptors::fit_descriptors;
pub use listen::ListenError;
pub use rollback::Past;
pub use server::{Server, StartError, Stopped};
pub use tls::TlsError;
