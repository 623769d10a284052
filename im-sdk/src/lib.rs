//! Chat, groups and notifications inside your product, without an IM platform beside it.
//!
//! Your backend links this crate: it sends messages, handles what devices publish, and keeps its
//! users and rules to itself. Thin `im-server` processes hold the devices' connections, and devices
//! link the other half of this crate, or a binding of it. Redis and NATS connect them; for
//! development, tests and small products everything runs in one process with nothing to install.
//!
//! ```text
//!   device                        im-server                        business backend
//!  +-----------+  QUIC/WebSocket  +----------------+  im.up.*       +------------------+
//!  | `client`  | <--------------> | holds          | -------------> | `backend` and    |
//!  |           |  frames          | connections    | <------------- | your rules       |
//!  +-----------+                  +-------+--------+  im.srv.<id>   +---------+--------+
//!                                         |            (NATS)                 |
//!                                         +---- routes, leases (Redis) -------+
//! ```
//!
//! The smallest backend, with everything in one process:
#![cfg_attr(feature = "backend", doc = "```")]
#![cfg_attr(not(feature = "backend"), doc = "```ignore")]
//! use im_sdk::{backend::{Im, Message, user}, cluster::Cluster};
//!
//! # tokio::runtime::Runtime::new()?.block_on(async {
//! let im = Im::with_cluster(Cluster::embedded()).await?;
//! let receipt = im.send(Message::to(user("bob")).from("alice").text("hi")).await?;
//! assert_eq!(receipt.offline.len(), 1, "bob has no device connected");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # I want to
//!
//! | | page |
//! | --- | --- |
//! | run a backend, a server and a device; mint tokens | [getting started](guide::start) |
//! | send reliably, notify offline users, stream an answer | [sending](guide::sending) |
//! | handle what devices publish | [handlers](guide::handlers) |
//! | have groups, with members in my own tables | [channels](guide::channels) |
//! | have live rooms, likes, and broadcasts | [rooms](guide::rooms) |
//! | send pictures, files, cards, and custom kinds | [kinds](guide::kinds) |
//! | let users recall, edit, react and pin | [changes](guide::changes) |
//! | show unread counts, read receipts, mentions, drafts | [conversations](guide::conversations) |
//! | show who is typing and who is online; set up calls | [signals](guide::signals) |
//! | show, search, keep, delete and export messages | [history](guide::history) |
//! | write the application on the device | [devices](guide::devices) |
//! | run it in production: durability, deploys, sizing, failures | [operating](guide::operating) |
//!
//! # Modules
//!
//! | module | feature | for |
//! | --- | --- | --- |
//! | `backend` | `backend` (default) | business code: send, serve what devices publish, presence, kick |
//! | `client` | `client`; `sqlite` for a store in a file | devices: one connection, kept alive over every change of network |
//! | `cluster` | `cluster` | connections between processes: routes, bus and logs, on Redis and NATS or in process |
//! | `token` | `cluster` | tokens that backends mint and servers verify |
//! | `backend::message_store` | `backend`; `postgres` for PostgreSQL, `sql` for SQLite too | messages in your database |
//! | [`content`], [`timeline`] | always | the kinds of messages; changes to them |
//! | [`id`], [`limits`] | always | ids, and the numbers that both sides agree on |
//!
//! Values that devices and backends share, such as [`Recipient`] and [`HistoryQuery`], are in the
//! crate's root. Every item has one path.
//!
//! A device never compiles redis or async-nats, a backend never compiles quinn.

pub use im_proto::{id, limits};

#[cfg(feature = "backend")]
pub mod backend;
#[cfg(feature = "client")]
pub mod client;
#[cfg(feature = "cluster")]
pub mod cluster;
#[cfg(test)]
mod golden;
pub mod guide;
#[cfg(feature = "cluster")]
mod log_throttle;
mod model;
#[cfg(feature = "cluster")]
pub mod token;

use im_proto as proto;
#[cfg(feature = "backend")]
use model::kind;
#[cfg(any(feature = "backend", feature = "client"))]
use model::{conversation, history};

/// The macro of the crate `async-trait`, for implementations of the traits of [`cluster`] and
/// [`backend`], such as [`cluster::MemberStore`].
#[cfg(feature = "cluster")]
pub use async_trait::async_trait;
pub use model::{
    CLOCK_TOLERANCE, CallStep, Conversation, ConversationChange, ConversationState, Endpoint, EndpointError,
    Filter, HistoryQuery, HistoryRange, InvalidSearch, Kind, MAX_DRAFT_BYTES, MAX_SEARCH_BYTES,
    MAX_SEARCH_WORDS, ReadMark, Recipient, Search, SearchPlace, Signal, TerminalPresence, Transport,
    UserPresence, content, refusal_code, timeline,
};
