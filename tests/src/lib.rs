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
//! Nothing is skipped: a missing program is a failure that says how to install it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failed step of a test is a panic"
)]

mod nats;
mod process;
mod redis;
mod wait;

pub use nats::NatsServer;
pub use redis::{RedisCluster, RedisOptions, RedisServer};
pub use wait::wait_until;
