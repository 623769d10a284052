//! The guide: one page for each task, with examples, guarantees, limits, errors, and the devices'
//! view.
//!
//! [The front page](crate) lists the pages. Examples use `?` for errors and leave the runtime out.
//! All of them are compiled as tests, and those that need no Redis or NATS are run.

// The pages are tests elsewhere: see `tests/src/guide.rs`. A page names both halves, of which this
// build may have one.
#![cfg_attr(
    not(all(feature = "backend", feature = "sql", feature = "sqlite")),
    allow(rustdoc::broken_intra_doc_links)
)]

/// Declares the pages, each with the names that its links use.
macro_rules! pages {
    ($($page:ident = $text:literal { $($($module:ident)::+: $($name:ident),+;)* })+) => {$(
        pub mod $page {
            // Inside the module, so that links are resolved here.
            #![cfg_attr(not(doctest), doc = include_str!($text))]
            $(#[cfg(all(doc, feature = "backend", feature = "sql", feature = "sqlite"))]
            #[allow(unused_imports, reason = "links on the page name them")]
            use crate::$($module)::+::{$($name),+};)*
        }
    )+};
}

pages! {
    start = "start.md" {
        backend: Im, StartError;
        client: Client, Event, TokenProvider;
        cluster: Cluster;
        id: ChannelId, UserId;
    }
    sending = "sending.md" {
        backend: Channel, Durability, Im, ImBuilder, Message, Receipt, SendError, channel, user,
            users;
        client: Event;
        cluster: ClusterConfig, LogBounds;
    }
    handlers = "handlers.md" {
        backend: Acceptance, Handler, Im, ImBuilder, Incoming, ReachRule, Receipt, ServeError,
            Service, UserBudgets;
        client: Event, PublishError, Published, RefusalKind;
        content: Notice;
    }
    channels = "channels.md" {
        backend: Channel, ChannelError, Im, MAX_SEARCH_CHANNELS, SendError, channel;
        client: Client, Event, ResetReason;
        cluster: LogBounds;
        model: ConversationChange;
    }
    rooms = "rooms.md" {
        backend: ChannelReceipt, CountError, InvalidMessage, Priority, Receipt, Room, RoomError,
            RoomWelcome, SendError;
        client: Client, Event, JoinedRoom, RequestError;
        content: Custom;
    }
    kinds = "kinds.md" {
        backend: InvalidMessage, SendError;
        client: ReceivedMessage;
        content: Body, Card, Change, Content, Custom, File, Forwarded, Image, Location, Media,
            Notice, Quote, Video, Voice;
        model: Kind;
    }
    changes = "changes.md" {
        backend: ChangePolicy, ChangeRights, Handler, Im, ImBuilder, Incoming, InvalidMessage,
            SendError;
        backend::message_store: MessageStore;
        client: Client, Event, MessageRef, ResetReason;
        content: Body, Change;
        timeline: MAX_WAITING_CHANGES, ShownMessage, Timeline;
    }
    conversations = "conversations.md" {
        backend: Channel, ConversationError, Handler, Im, ListedConversation, MAX_CONVERSATION_PAGE,
            MAX_CONVERSATION_PAGE_BYTES, MAX_NAMED_READERS, MAX_TOLD_MEMBERS, MAX_UNREAD, Message;
        client: Client, ConversationList, Event, MarkError;
        model: ConversationChange, ConversationState, MAX_DRAFT_BYTES;
    }
    signals = "signals.md" {
        backend: Handler, Im, KickError, PresenceError, UserBudgets;
        client: Client, Event, RequestError;
        model: CallStep, Signal;
    }
    history = "history.md" {
        backend: Archiver, Channel, Durability, HistoryError, HistoryPage, Im, ImBuilder,
            MAX_HISTORY_BYTES, MAX_HISTORY_PAGE, MAX_HISTORY_SCAN, MAX_HISTORY_SCAN_BYTES,
            MAX_SEARCHES, MAX_SEARCH_CHANNELS, MAX_SEARCH_PAGE, NoArchive, NoMessageStore,
            SearchError, SendError;
        backend::message_store: MessageStore;
        client: Client, ReceivedMessage;
        cluster: ArchiveConfig, ArchiveError, LogBounds;
        model: Filter, HistoryQuery, HistoryRange, Kind, MAX_SEARCH_BYTES, MAX_SEARCH_WORDS, Search;
        timeline: Timeline;
    }
    devices = "devices.md" {
        backend: Im;
        client: Client, ClientConfig, Event, PublishError, ReceivedMessage, RequestError,
            ResetReason, SendError, TokenError, TokenProvider, TokenRequest, Trust;
        client::device_store: DeviceStore, MemoryStore, SqliteStore, StoreError;
    }
    operating = "operating.md" {
        backend: Archiver, Im, ImBuilder, Receipt, SendError;
        client: Client, TokenProvider;
        cluster: ClusterConfig, LogBounds, LogError;
    }
}
