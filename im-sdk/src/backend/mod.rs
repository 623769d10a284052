//! What business code links: [`Im`] sends to users wherever they are, and serves what their devices publish.
//!
//! ```no_run
//! use im_sdk::{backend::{Im, Message, user}, cluster::ClusterConfig};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let im = Im::connect(ClusterConfig::new(["redis://127.0.0.1:6379"], ["nats://127.0.0.1:4222"])).await?;
//! let receipt = im.send(Message::to(user("bob")).from("alice").text("hi")).await?;
//! println!("message {} reached {} devices", receipt.message_id, receipt.pushed.len());
//! # Ok(())
//! # }
//! ```
//!
//! The [guide](crate::guide) has a page for each thing to do: [sending](crate::guide::sending), [handlers](crate::guide::handlers) for what
//! devices publish, [channels](crate::guide::channels), [rooms](crate::guide::rooms), [conversations](crate::guide::conversations),
//! [history](crate::guide::history), and how to [operate](crate::guide::operating) all of it.

mod acks;
mod amend;
mod append;
mod archive;
mod broadcast;
mod budget;
mod change;
mod channel;
mod check;
mod conversations;
mod counts;
mod directory;
mod export;
mod fanout;
mod health;
mod history;
mod ids;
mod im;
mod live;
mod message;
#[cfg(test)]
mod metered;
mod presence;
mod publisher;
mod receipt;
mod retention;
mod room;
mod search;
mod send;
mod service;
pub mod store;
#[cfg(test)]
mod trouble;

pub use acks::{AckError, AckOutcome, AckReport, DeviceState};
pub use amend::AmendError;
pub use archive::{Archiver, ArchiverHandle, ArchiverStall, NoArchive};
pub use broadcast::BroadcastReceipt;
pub use budget::{Budget, UserBudgets};
pub use change::{ChangePolicy, ChangeRights, IncomingChange};
pub use channel::{Channel, ChannelError, ChannelHistoryError};
pub use check::InvalidContent;
pub use conversations::{
    ConversationError, ConversationPage, ListedConversation, MAX_CONVERSATION_PAGE,
    MAX_CONVERSATION_PAGE_BYTES, MAX_NAMED_READERS, MAX_TOLD_MEMBERS, MAX_UNREAD, Marked, ReadersError,
    UnreadTotal,
};
pub use counts::CountError;
pub use health::{Health, ServingBackEnd};
pub use history::{
    HistoryEntry, HistoryError, HistoryPage, MAX_HISTORY_BYTES, MAX_HISTORY_PAGE, MAX_HISTORY_SCAN,
    MAX_HISTORY_SCAN_BYTES,
};
pub use ids::IdError;
pub use im::{Im, ImConfig, StartError};
pub use message::{Durability, Message, Priority, Target, channel, user, users};
pub use presence::{KickError, OnlineDevice, PresenceError, ServerAddresses};
pub use receipt::{ChannelReceipt, Receipt, UserDevice};
pub use retention::{Cleaner, CleanerHandle, NoMessageStore, Retention};
pub use room::{Room, RoomError};
pub use search::{FoundMessage, FoundPage, MAX_SEARCH_CHANNELS, MAX_SEARCH_PAGE, MAX_SEARCHES, SearchError};
pub use send::SendError;
pub use service::{
    Acceptance, DeviceRequest, Handler, Incoming, IncomingSignal, LoggedMessage, PresenceEvent, Reach,
    ReachKind, ReachRights, ReachRule, Refusal, Relay, RequestKind, RoomJoin, RoomWelcome, ServeError,
    Service, testing,
};
#[cfg(feature = "postgres")]
pub use store::SqlMessageStore;
pub use store::{
    AMENDMENTS_KEPT, AmendedPart, Amendment, MemoryMessageStore, MessageStore, MessageStoreError,
    NotAMessage, SearchPage, SearchQuery, StorePage, StoreQuery, StoredEntry, StoredKey, Words,
};

pub use crate::{
    CLOCK_TOLERANCE, CallStep, Conversation, ConversationChange, ConversationState, Filter, HistoryQuery,
    HistoryRange, InvalidSearch, Kind, MAX_DRAFT_BYTES, MAX_SEARCH_BYTES, MAX_SEARCH_WORDS, ReadMark,
    Recipient, Search, SearchPlace, Signal, TerminalPresence, UserPresence,
    cluster::{DeviceAck, LogId, Readers},
    token::{SigningKey, TokenMinter},
};
