//! The client half of the SDK for Kotlin, Swift and Python, and with the feature `backend` the back-end half for Python.
//!
//! This crate only translates. The meaning of each name is documented at its namesake in `im_sdk::client`. The types are mirrored
//! here and not derived there: derived types would be in a second module of each language, and could not map the variants that a
//! later version of `im_sdk` adds to `Unknown`.
//! Generate the module of a language with
//!
//! ```text
//! cargo build -p im-ffi
//! cargo run -p uniffi-bindgen -- \
//!     generate target/debug/libim_ffi.so --language python --out-dir out
//! ```
//!
//! and put the library beside it. `bindings/README.md` shows its use and lists what is missing.

#[cfg(feature = "backend")]
mod backend;
mod client;
#[cfg(feature = "python")]
mod compact;
mod config;
mod content;
mod conversation;
mod error;
mod event;
mod history;
mod log;
mod message;
mod room;
mod runtime;
mod send;
mod timeline;
mod token;

#[cfg(feature = "backend")]
pub use self::backend::{
    AckOutcome, AckReport, Backend, BackendConfig, BackendConversation, BackendConversationPage,
    BackendError, BackendHealth, BroadcastReceipt, Call, CallReply, ChannelReceipt, Decision, Delivery,
    DeviceAckState, DeviceState, Durability, EmbeddedServer, EmbeddedServerConfig, FoundLoggedPage,
    InboxPlace, IncomingCall, LogPlace, LoggedMessage, LoggedPage, OnlineDevice, OutgoingMessage, Priority,
    ReachKind, Receipt, RequestKind, SendFailed, SentMany, ServerAddresses, Service, ServiceCalls, Target,
    TokenMinter, UnreadTotal, UserDevice, connect_backend, random_secret, start_embedded_server,
};
#[cfg(feature = "python")]
pub use self::compact::CompactEvents;
pub use self::{
    client::{
        Client,
        list::{ConversationList, Unread},
    },
    config::{ClientConfig, Terminal, Trust},
    content::{
        Amended, Body, Card, ChangeKind, Content, File, ForwardSource, ForwardedEntry, Image, Location,
        Media, Quote, Video, Voice, decode_content, encode_content, text_content,
    },
    conversation::{
        ConversationChange, ConversationPage, ConversationState, ListedConversation, MarkError, ReadMark,
        ReadReceipt, Readers, Recalled, Recipient,
    },
    error::{InvalidContent, OpenError, PublishError, RefusalKind, SendError, TokenError},
    event::{Event, State},
    history::{
        Conversation, FoundPage, HistoryPage, HistoryQuery, HistoryRange, Kind, RequestError, Search,
        SearchPlace,
    },
    log::{LogLevel, LogRecord, LogSink, set_log_sink},
    message::{
        MessageRef, Position, ReceivedMessage, ResetReason, Transport, forward_message, message_ref,
        message_unix_ms, quote_message,
    },
    room::{CallStep, JoinedRoom, ReceivedSignal, RoomLeftCause, Signal, TerminalPresence, UserPresence},
    runtime::shutdown,
    send::{Published, SendFailure, SendHandle, SendState, UnsettledSend},
    timeline::{Reaction, ShownMessage, Timeline},
    token::{EndpointProvider, TokenProvider, TokenRequest},
};

uniffi::setup_scaffolding!();
