//! The device's half: one connection to the servers, kept alive over every change of network, over QUIC or WebSocket.
//!
//! ```text
//!  application                 Client              driver (one task)            transport
//!   connect() ----------------> latest -------->  +--------------------+  <-->  QUIC       } the first that is
//!   send().await -------------> queue --------->  | core: no I/O,      |  <-->  WebSocket  } established wins
//!   next_events(100).await <--- bounded queue <-  | no clock, no dice  |  -->   token provider
//!   ack(position) ------------> latest -------->  |                    |  -->   store
//!                                                 +--------------------+
//! ```
//!
//! Each log (the user's inbox, each channel) comes once and in order, or with an explicit [`Event::Reset`]. Entries that the
//! application has not [acknowledged](Client::ack) come again after a restart of the process; messages that it has
//! [sent](Client::send) are sent until they are answered, also after a restart. Both hold as long as the
//! [`DeviceStore`](device_store::DeviceStore) does.
//!
//! The guide has a page on [devices](crate::guide::devices): what to acknowledge, resets, mobile applications in the background.
//!
//! ```no_run
//! use std::sync::Arc;
//!
//! use im_sdk::{
//!     Recipient,
//!     client::{Client, ClientConfig, Event},
//! };
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let endpoints = vec!["quic://im.example.com:7801".parse()?, "wss://im.example.com".parse()?];
//! let config = ClientConfig::new(endpoints, "desktop/laptop-1".parse()?, Arc::new("a token"));
//! let client = Client::open(config)?;
//! client.connect();
//! client.send(Recipient::user("bob")?, "hi").await?;
//! for event in client.next_events(100).await {
//!     if let Event::Message(message) = event {
//!         println!("{:?}: {:?}", message.from, message.content);
//!         if let Some(position) = &message.position {
//!             client.ack(position);
//!         }
//!     }
//! }
//! client.shutdown().await;
//! # Ok(())
//! # }
//! ```

mod acks;
#[allow(clippy::module_inception)]
mod client;
mod config;
mod conversations;
mod core;
pub mod device_store;
mod driver;
mod error;
mod event;
mod history;
mod log;
mod message;
mod publish;
mod room;
mod token;
mod transport;
mod trust;

pub use self::core::{MAX_ROOMS, PROBE_TIMEOUT};
pub use self::{
    client::{Client, SendHandle, SendRequest, UnsettledSend},
    config::{
        BACKOFF_BASE, BACKOFF_CAP, ClientConfig, MAX_FAILED_SENDS, MAX_QUEUED_EVENTS, MAX_QUEUED_PUBLISHES,
        MAX_QUEUED_REQUESTS, SERVER_DELAY, STABLE_AFTER, WEBSOCKET_DELAY,
    },
    conversations::{
        ConversationList, ConversationPage, ListedConversation, MAX_CONVERSATION_MARKS, MarkError,
        ReadReceipt, Readers, Unread,
    },
    error::{NoEndpoints, OpenError, PublishError, RefusalKind, RetryError, SendError},
    event::{Event, EventStream, State, StopCause},
    history::{FoundPage, HistoryPage, RequestError},
    log::{Log, Position, ResetReason},
    message::{MessageRef, ReceivedMessage},
    publish::{LocalId, Published, SendState},
    room::{JoinedRoom, ReceivedSignal, RoomLeftCause},
    token::{TokenError, TokenProvider, TokenRequest},
    trust::{Trust, TrustError},
};
pub use crate::proto::close::CloseCode;
