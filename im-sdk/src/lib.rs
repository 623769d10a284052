//! Chat, groups and notifications inside your product, without an IM platform beside it.
//!
//! Your back end links this crate: it sends, decides what becomes of what devices publish, and keeps its users and rules to itself. Thin
//! `im-server` processes hold the devices' connections, and devices link the other half of this crate, or a binding of it. Redis and
//! NATS join them; for development, tests and small products everything runs in one process with nothing to install.
//!
//! ```text
//!   device                        im-server                        business back end
//!  +-----------+  QUIC/WebSocket  +----------------+  im.up.*       +------------------+
//!  | `client`  | <--------------> | holds          | -------------> | `backend` and    |
//!  |           |  frames          | connections    | <------------- | your rules       |
//!  +-----------+                  +-------+--------+  im.srv.<id>   +---------+--------+
//!                                         |            (NATS)                 |
//!                                         +---- routes, leases (Redis) -------+
//! ```
//!
//! The smallest back end, with everything in this process:
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
//! | run a back end, a server and a device; mint tokens | [getting started](guide::start) |
//! | send, be sure that it arrives, notify who is offline, write an answer as it comes | [sending](guide::sending) |
//! | decide what becomes of what devices publish | [handlers](guide::handlers) |
//! | have groups, with members in my own tables | [channels](guide::channels) |
//! | have live rooms, likes, and messages to everybody | [rooms](guide::rooms) |
//! | send pictures, files, cards, and kinds of my own | [kinds](guide::kinds) |
//! | let users recall, edit, react and pin | [changes](guide::changes) |
//! | show unread counts, read receipts, mentions, drafts | [conversations](guide::conversations) |
//! | show who types and who is online; set up calls | [signals](guide::signals) |
//! | show, search, keep, delete and export what was said | [history](guide::history) |
//! | write the application on the device | [devices](guide::devices) |
//! | run it in production: durability, deploys, sizing, failures | [operating](guide::operating) |
//!
//! # What is where
//!
//! | module | feature | for |
//! | --- | --- | --- |
//! | `backend` | `backend` (default) | business code: send, serve what devices publish, presence, kick |
//! | `client` | `client`; `sqlite` for a store in a file | devices: one connection, kept alive over every change of network |
//! | `cluster` | `cluster` | what joins processes: routes and bus, on Redis and NATS or in process |
//! | `token` | `cluster` | the tokens that back ends mint and servers verify |
//! | `backend::store` | `backend`; `postgres` for PostgreSQL, `sql` for SQLite too | messages in your database |
//! | [`content`], [`timeline`] | always | the kinds of messages; what changes make of them |
//! | [`id`], `proto` | always | ids, and the wire protocol |
//!
//! A device never compiles redis or async-nats, a back end never compiles quinn.

pub use im_proto as proto;
pub use im_proto::id;

#[cfg(feature = "backend")]
pub mod backend;
#[cfg(feature = "serde")]
mod base64_bytes;
#[cfg(feature = "client")]
pub mod client;
#[cfg(feature = "cluster")]
pub mod cluster;
pub mod content;
mod conversation;
mod endpoint;
mod filter;
#[cfg(test)]
mod golden;
pub mod guide;
mod history;
mod kind;
#[cfg(feature = "cluster")]
mod log_throttle;
mod presence;
mod recipient;
pub mod refusal_code;
mod search;
mod signal;
pub mod timeline;
#[cfg(feature = "cluster")]
pub mod token;

/// The attribute for implementations of the traits of [`cluster`] and [`backend`], such as [`cluster::Membership`]: the macro of
/// the crate `async-trait`.
#[cfg(feature = "cluster")]
pub use async_trait::async_trait;
pub use content::Content;
pub use conversation::{ConversationChange, ConversationState, MAX_DRAFT_BYTES, ReadMark};
pub use endpoint::{Endpoint, EndpointError, Transport};
pub use filter::Filter;
pub use history::{Conversation, HistoryQuery, HistoryRange};
pub use im_proto::limits::{MAX_CONTENT_BYTES, MAX_TEXT_BYTES};
pub use kind::Kind;
pub use presence::{TerminalPresence, UserPresence};
pub use recipient::Recipient;
pub use search::{CLOCK_TOLERANCE, InvalidSearch, MAX_SEARCH_BYTES, MAX_SEARCH_WORDS, Search, SearchPlace};
pub use signal::{CallStep, Signal};
