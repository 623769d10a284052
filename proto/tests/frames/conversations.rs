//! Vectors of conversations.

use im_proto::pb::{self, frame::Body};

use crate::{
    said::{entry, push, text},
    session::{NEXT_ID, message_id},
};

pub(crate) fn list_request() -> pb::ConversationsRequest {
    pb::ConversationsRequest { since: None, limit: 50, skip: 100 }
}

pub(crate) fn since_request() -> pb::ConversationsRequest {
    pb::ConversationsRequest { since: Some(0), limit: 0, skip: 0 }
}

pub(crate) fn marks() -> Vec<pb::Mark> {
    let bob = pb::Mark { user: "bob".into(), read: 42, read_id: message_id(), ..Default::default() };
    let team = pb::Mark {
        channel: "team".into(),
        pinned: Some(true),
        muted: Some(false),
        draft: Some("so far".into()),
        hidden: Some(0),
        deleted: 7,
        ..Default::default()
    };
    vec![bob, team]
}

pub(crate) fn states() -> Vec<pb::ConversationState> {
    let bob = pb::ConversationState {
        user: "bob".into(),
        version: 3,
        read: 42,
        read_id: message_id(),
        peer_read: NEXT_ID,
        ..Default::default()
    };
    let team = pb::ConversationState {
        channel: "team".into(),
        version: 4,
        pinned: true,
        muted: true,
        draft: "so far".into(),
        hidden: 6,
        deleted: 7,
        ..Default::default()
    };
    vec![bob, team]
}

pub(crate) fn conversations() -> pb::Conversations {
    let Body::Push(last) = entry("team", 7, push("bob", "", text("to the team"))) else { panic!("no push") };
    let conversation = pb::Conversation {
        state: states().pop(),
        last: Some(last),
        end: 7,
        unread: 2,
        unread_more: true,
        unread_seqs: vec![5, 7],
        mention_seqs: vec![7],
        unread_ids: vec![message_id(), NEXT_ID],
        last_edit: NEXT_ID,
        last_recall: Some(last_recall()),
        ..Default::default()
    };
    pb::Conversations {
        version: 4,
        conversations: vec![conversation],
        more: true,
        unread: 3,
        unread_more: true,
        inbox_end: 42,
    }
}

pub(crate) fn last_recall() -> pb::LastRecall {
    pb::LastRecall { change: NEXT_ID, by: "bob".into() }
}

pub(crate) fn readers_request() -> pb::ReadersRequest {
    pb::ReadersRequest { channel: "team".into(), seq: 7, limit: 20 }
}

pub(crate) fn readers() -> pb::Readers {
    pb::Readers { count: 120, users: vec!["bob".into(), "carol".into()] }
}

pub(crate) fn conversations_changed() -> pb::ConversationsChanged {
    let receipt = pb::ReadReceipt { channel: "team".into(), user: "bob".into(), seq: 7, id: message_id() };
    pb::ConversationsChanged { states: states(), receipts: vec![receipt] }
}

/// Marks that a user made while the device was away.
pub(crate) fn late_marks() -> Vec<pb::Mark> {
    let bob = pb::Mark {
        user: "bob".into(),
        muted: Some(true),
        muted_until_ms: Some(1_800_000_000_000),
        mentions_only: Some(true),
        marked_unread: Some(true),
        known: 41,
        age_ms: Some(60_000),
        ..Default::default()
    };
    vec![bob]
}

/// Settings of a conversation.
pub(crate) fn conversation_settings() -> pb::ConversationsChanged {
    let bob = pb::ConversationState {
        user: "bob".into(),
        version: 42,
        muted: true,
        muted_until_ms: 1_800_000_000_000,
        mentions_only: true,
        marked_unread: true,
        ..Default::default()
    };
    pb::ConversationsChanged { states: vec![bob], receipts: Vec::new() }
}

/// A list with more mentions than are listed.
pub(crate) fn conversation_mentions() -> pb::Conversations {
    let conversation = pb::Conversation {
        state: states().pop(),
        end: 300,
        unread: 200,
        unread_seqs: vec![300],
        mention_seqs: vec![300],
        mentions: 7,
        ..Default::default()
    };
    pb::Conversations { version: 4, conversations: vec![conversation], unread: 200, ..Default::default() }
}

/// A channel that was closed, and whose history was hidden from new members.
pub(crate) fn conversation_closed() -> pb::ConversationsChanged {
    let team = pb::ConversationState {
        channel: "team".into(),
        version: 5,
        read: 42,
        joined: 40,
        closed: Some(43),
        ..Default::default()
    };
    pb::ConversationsChanged { states: vec![team], receipts: Vec::new() }
}
