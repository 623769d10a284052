//! The contracts of the cluster's parts, with the values that they exchange.
//!
//! Each trait has a conformance suite in [`conformance`](super::conformance) that every implementation passes.

pub(in crate::cluster) mod acks;
mod archive_config;
pub(in crate::cluster) mod archive_queue;
pub(in crate::cluster) mod archive_record;
mod bus;
pub(in crate::cluster) mod conversation_patch;
pub(in crate::cluster) mod conversations;
mod dedup_key;
mod entry;
pub(in crate::cluster) mod idempotency;
pub(in crate::cluster) mod last_seen;
mod log;
mod log_bounds;
pub(in crate::cluster) mod log_error;
pub(in crate::cluster) mod member_tables;
mod members;
mod routes;

pub use self::{
    acks::{AckQuery, AckStore, DeviceAck, MAX_ACKED_SEQ, MAX_ACKS_PER_USER},
    archive_config::ArchiveConfig,
    archive_queue::{ArchiveDelivery, ArchiveError, ArchiveLag, ArchiveQueue, DeliveryToken},
    archive_record::{ArchiveRecord, LogPosition},
    bus::{
        Bus, BusError, BusEvent, BusMessage, Disruption, Publication, SUBSCRIPTION_CAPACITY, Source,
        Subscription,
    },
    conversation_patch::{ChangeOrigin, ConversationPatch},
    conversations::{
        CONTACT_TTL, ChangedConversation, ChangedPage, ConversationStore, ConversationsError, MAX_CONTACTS,
        MAX_CONVERSATIONS, MAX_DELETED_MESSAGES, MAX_MARKED_SEQ, Readers,
    },
    dedup_key::DedupKey,
    entry::{Appended, Entry, LogEnds, NewEntry, Page, ReadLimit},
    last_seen::{LAST_SEEN_TTL, LastSeen, LastSeenError, LastSeenStore},
    log::LogStore,
    log_bounds::LogBounds,
    log_error::LogError,
    member_tables::MemberTables,
    members::{MemberStore, MembersError},
    routes::{
        Claim, Displaced, LoginPolicy, NodeLease, Reclaimed, RegisteredServer, Route, Routes, RoutesError,
    },
};
