//! What users set in their conversations.

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
