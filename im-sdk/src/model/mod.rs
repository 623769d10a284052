//! The values that devices and backends share: contents, conversations, queries for history, signals.
//!
//! The module does no I/O, and depends on neither the client, the cluster nor the backend. Conversions to and from the
//! wire are beside each type.

#[cfg(feature = "serde")]
mod base64_bytes;
pub mod content;
pub(crate) mod conversation;
mod endpoint;
mod filter;
pub(crate) mod history;
pub(crate) mod kind;
mod presence;
mod recipient;
pub mod refusal_code;
mod search;
mod signal;
pub mod timeline;

pub use self::{
    conversation::{ConversationChange, ConversationState, MAX_DRAFT_BYTES, ReadMark},
    endpoint::{Endpoint, EndpointError, Transport},
    filter::Filter,
    history::{Conversation, HistoryQuery, HistoryRange},
    kind::Kind,
    presence::{TerminalPresence, UserPresence},
    recipient::Recipient,
    search::{CLOCK_TOLERANCE, InvalidSearch, MAX_SEARCH_BYTES, MAX_SEARCH_WORDS, Search, SearchPlace},
    signal::{CallStep, Signal},
};
