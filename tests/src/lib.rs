//! Real servers for tests: each runs as a child process on 127.0.0.1, in its own directory, and is killed when dropped.
//!
//! ```no_run
//! # async fn test() {
//! let redis = im_tests::RedisServer::start().await;
//! let nats = im_tests::NatsServer::start().await;
//! let config = im_sdk::cluster::ClusterConfig::new([redis.address()], [nats.address()]);
//! # }
//! ```
//!
//! Tests are never skipped: a missing program is a failure that says how to install it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failed step of a test is a panic"
)]

pub mod archiving_stack;
pub mod bystander;
pub mod channels;
pub mod chaos;
mod client;
pub mod conversation_list;
mod draining_server;
mod embedded;
pub mod guide;
mod im_server;
mod log_capture;
pub mod memory;
mod nats;
pub mod permissions;
pub mod permissive_handler;
mod postgres;
mod process;
mod program;
pub mod programs;
pub mod proxy;
pub mod raw;
#[cfg(doctest)]
mod readme;
mod redis;
pub mod scenarios;
pub mod stack;
pub mod timeline_device;
mod wait;

pub use bystander::Bystander;
pub use client::TestClient;
pub use draining_server::DrainingServer;
pub use embedded::EmbeddedServer;
pub use im_server::{ImServer, binary};
pub use log_capture::LogCapture;
pub use nats::NatsServer;
pub use postgres::PostgresServer;
pub use program::Program;
pub use proxy::TcpProxy;
pub use redis::{RedisCluster, RedisOptions, RedisServer};
pub use stack::{Setup, Stack, Via};
pub use wait::wait_until;

/// Runs each of these tests embedded and clustered, over QUIC and over WebSocket. A test is an
/// `async fn(Setup, Via)`.
#[macro_export]
macro_rules! everywhere {
    ($($test:ident),+ $(,)?) => {
        $(mod $test {
            use $crate::{Setup::{Clustered, Embedded}, Via::{Quic, WebSocket}};

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn embedded_quic() {
                super::$test(Embedded, Quic).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn embedded_websocket() {
                super::$test(Embedded, WebSocket).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn clustered_quic() {
                super::$test(Clustered, Quic).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn clustered_websocket() {
                super::$test(Clustered, WebSocket).await;
            }
        })+
    };
}
