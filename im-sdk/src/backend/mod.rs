//! The backend's half: [`Im`] sends messages to users wherever they are connected, and serves what their
//! devices publish.
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

mod amend;
mod channels;
mod conversations;
mod error_chain;
mod health;
mod history;
mod im;
mod lookup;
pub mod message_store;
mod parse_ids;
mod presence;
mod send;
mod service;
mod tasks;
#[cfg(test)]
mod test_support;
pub mod testing;
mod upkeep;

pub use amend::AmendError;
pub use channels::{
    channel::{Channel, ChannelError, ChannelHistoryError},
    room::{Room, RoomError},
    room_counters::CountError,
};
pub use conversations::{
    ConversationError, ConversationPage, ListedConversation, MAX_CONVERSATION_PAGE,
    MAX_CONVERSATION_PAGE_BYTES, MAX_NAMED_READERS, MAX_TOLD_MEMBERS, MAX_UNREAD, Marked, ReadersError,
    UnreadTotal,
};
pub use health::{Health, ServingBackEnd};
pub use history::{
    HistoryError, HistoryPage, LoggedMessage, MAX_HISTORY_BYTES, MAX_HISTORY_PAGE, MAX_HISTORY_SCAN,
    MAX_HISTORY_SCAN_BYTES,
    archiver::{Archiver, ArchiverStall, NoArchive},
    retention::{Cleaner, CleanerHandle, NoMessageStore, Retention},
    search::{FoundPage, MAX_SEARCH_CHANNELS, MAX_SEARCH_PAGE, MAX_SEARCHES, SearchError},
};
pub use im::{Im, ImBuilder, StartError};
pub use presence::{KickError, OnlineDevice, PresenceError, ServerAddresses};
pub use send::{
    acks::{AckError, AckOutcome, AckReport, DeviceState},
    broadcast::BroadcastReceipt,
    device::UserDevice,
    error::SendError,
    message::{Durability, InvalidMessage, Message, Priority, Target, channel, user, users},
    message_ids::IdError,
    receipt::{ChannelReceipt, Receipt},
    validate::InvalidContent,
};
pub use service::{
    Acceptance, DeviceRequest, Handler, Incoming, IncomingSignal, LoggedPublish, PresenceEvent, Reach,
    ReachKind, ReachRights, ReachRule, Refusal, Relay, RequestKind, RoomJoin, RoomWelcome, ServeError,
    Service,
    budget::{Budget, UserBudgets},
    change::{ChangePolicy, ChangeRights, IncomingChange},
};
