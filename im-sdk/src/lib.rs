//! Chat, notifications and streamed answers inside your product, without an IM platform beside it.
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
//! | module | feature | for |
//! | --- | --- | --- |
//! | `backend` | `backend` (default) | business code: send, serve what devices publish, presence, kick |
//! | `client` | `client` | devices: one connection, kept alive over every change of network |
//! | `cluster` | `cluster` | what joins processes: routes and bus, on Redis and NATS or in process |
//! | `token` | `cluster` | the tokens that back ends mint and servers verify |
//! | [`content`], [`timeline`] | always | the kinds of messages; what changes make of them |
//! | [`id`], [`proto`] | always | ids, and the wire protocol |
//!
//! A device never compiles redis or async-nats, a back end never compiles quinn.
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
//! Give a clone of the same `Cluster` to an `im_server::Server` and devices can connect; the
//! `quickstart` example does just that.

pub use im_proto as proto;
pub use im_proto::id;

#[cfg(feature = "backend")]
pub mod backend;
#[cfg(feature = "client")]
pub mod client;
#[cfg(feature = "cluster")]
pub mod cluster;
pub mod content;
mod conversation;
mod history;
mod kind;
mod presence;
mod recipient;
mod search;
mod signal;
pub mod timeline;
#[cfg(feature = "cluster")]
pub mod token;

pub use content::Content;
pub use conversation::{ConversationChange, ConversationState, MAX_DRAFT_BYTES, ReadMark};
pub use history::{Conversation, HistoryQuery, HistoryRange};
pub use kind::Kind;
pub use presence::{TerminalPresence, UserPresence};
pub use recipient::Recipient;
pub use search::{CLOCK_TOLERANCE, InvalidSearch, MAX_SEARCH_BYTES, MAX_SEARCH_WORDS, Search, SearchPlace};
pub use signal::{CallStep, Signal};
