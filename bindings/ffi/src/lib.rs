//! The client half of the SDK for Kotlin, Swift and Python.
//!
//! This crate translates and decides nothing: what each name means stands at its namesake in `im_sdk::client`.
//! Generate a language's module with
//!
//! ```text
//! cargo build -p im-ffi
//! cargo run -p im-ffi --features bindgen --bin uniffi-bindgen -- \
//!     generate target/debug/libim_ffi.so --language python --out-dir out
//! ```
//!
//! and put the library beside it. `bindings/python/smoke.py` shows how it is used.

mod client;
mod config;
mod error;
mod event;
mod history;
mod runtime;
mod token;

pub use self::{
    client::{Client, Published},
    config::{ClientConfig, Terminal, Trust},
    error::{OpenError, PublishError, RefusalKind, SendError, TokenError},
    event::{
        Content, Event, Position, QueuedSend, ReceivedMessage, ResetReason, SendState, State, Transport,
    },
    history::{
        Conversation, FoundPage, HistoryError, HistoryPage, HistoryQuery, HistoryRange, Kind, Search,
        SearchPlace,
    },
    runtime::shutdown,
    token::{TokenProvider, TokenRequest},
};

uniffi::setup_scaffolding!();
