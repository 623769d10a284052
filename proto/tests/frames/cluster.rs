//! Vectors of messages between backends and servers.

use bytes::Bytes;
use im_proto::{
    frame,
    pb::{self, Terminal, device_frame, frame::Body, history_request::Conversation, record::Effect},
};
use prost::Message;

use crate::{asked::history_request, conversations::*, said::*, session::*};

pub(crate) fn envelope() -> pb::Envelope {
    let records = vec![
        record(Effect::Frames(ping_bytes())),
        record(Effect::Kick(pb::Kick { code: 4404, reason: "banned".into() })),
    ];
    let (publisher, answer_to) = ("shop-7f3a".into(), "im.bk.shop-7f3a".into());
    pb::Envelope { publisher, number: 42, answer_to, records, goodbye: false }
}

pub(crate) fn goodbye() -> pb::Envelope {
    pb::Envelope { publisher: "shop-7f3a".into(), number: 42, goodbye: true, ..Default::default() }
}

pub(crate) fn record(effect: Effect) -> pb::Record {
    pb::Record { connections: vec![7, 1 << 40], effect: Some(effect), ..Default::default() }
}

pub(crate) fn channels() -> pb::Channels {
    pb::Channels { channels: vec!["team".into(), "lobby".into()], ..Default::default() }
}

pub(crate) fn delivered() -> pb::Delivered {
    let missed = vec![pb::Missed { record: 1, connections: vec![7] }];
    pb::Delivered { server: "edge-1_a01b".into(), number: 42, missed, reached: vec![] }
}

pub(crate) fn reached() -> pb::Delivered {
    let reached = vec![pb::Reached { record: 2, connections: 900, shed: 100, enough: false }];
    pb::Delivered { reached, ..delivered() }
}

pub(crate) fn paced() -> pb::Record {
    pb::Record { connections: vec![7], paced: true, ..record(Effect::Frames(ping_bytes())) }
}

pub(crate) fn enough() -> pb::Delivered {
    let reached = vec![pb::Reached { record: 0, connections: 1, shed: 0, enough: true }];
    pb::Delivered { reached, missed: vec![], ..delivered() }
}

pub(crate) fn sync_rest() -> pb::SyncRest {
    pb::SyncRest { cursors: cursors(), began_ms: NEW_YEAR_2026_MS }
}

pub(crate) fn sync_ended_early() -> pb::SyncEnded {
    pb::SyncEnded { number: 3, rest: sync_rest().encode_to_vec().into() }
}

pub(crate) fn rest_of_sync() -> pb::UpstreamSync {
    pb::UpstreamSync { sync: Bytes::new(), rest: sync_rest().encode_to_vec().into(), ..numbered_sync() }
}

pub(crate) fn upstream() -> pb::Upstream {
    let publish = pb::UpstreamPublish {
        connection: 7,
        user: "alice".into(),
        device: Some(device(Terminal::Ios, "4f1c")),
        number: 1,
        publish: publish_bytes(),
        in_room: false,
    };
    pb::Upstream { server: "edge-1_a01b".into(), publishes: vec![publish] }
}

pub(crate) fn upstream_from_room() -> pb::UpstreamPublish {
    pb::UpstreamPublish { in_room: true, ..upstream().publishes.remove(0) }
}

pub(crate) fn upstream_sync() -> pb::UpstreamSync {
    pb::UpstreamSync {
        server: "edge-1_a01b".into(),
        connection: 7,
        user: "alice".into(),
        device: Some(device(Terminal::Ios, "4f1c")),
        sync: sync_bytes(),
        number: 0,
        rest: Bytes::new(),
    }
}

pub(crate) fn numbered_sync() -> pb::UpstreamSync {
    pb::UpstreamSync { number: 3, ..upstream_sync() }
}

pub(crate) fn store_report() -> pb::Record {
    let report = pb::StoreReport { number: 5, reachable: true, leased: true };
    pb::Record { connections: vec![], ..record(Effect::StoreReport(report)) }
}

pub(crate) fn store_check() -> pb::UpstreamStoreCheck {
    pb::UpstreamStoreCheck { server: "edge-1_a01b".into(), number: 5 }
}

pub(crate) fn upstream_membership() -> pb::UpstreamMembership {
    pb::UpstreamMembership {
        server: "edge-1_a01b".into(),
        connection: 7,
        user: "alice".into(),
        device: Some(device(Terminal::Ios, "4f1c")),
        watched: vec!["bob".into()],
    }
}

pub(crate) fn upstream_request() -> pb::UpstreamRequest {
    pb::UpstreamRequest {
        server: "edge-1_a01b".into(),
        connection: 7,
        user: "alice".into(),
        device: Some(device(Terminal::Ios, "4f1c")),
        request: request_bytes(),
    }
}

pub(crate) fn back_end_alive() -> pb::BackEndAlive {
    pb::BackEndAlive { id: "be-0123456789abcdef".into(), service: "shop".into(), ends: true }
}

pub(crate) fn upstream_acks() -> pb::UpstreamAcks {
    let ack = pb::UpstreamAck {
        user: "alice".into(),
        device: Some(device(Terminal::Ios, "4f1c")),
        ack: ack_bytes(),
    };
    pb::UpstreamAcks { acks: vec![ack] }
}

pub(crate) fn upstream_signals() -> pb::UpstreamSignals {
    let (user, device) = ("alice".into(), Some(device(Terminal::Web, "tab-1")));
    let signal = pb::UpstreamSignal { user, device, signal: signal_bytes(), in_room: true };
    pb::UpstreamSignals { signals: vec![signal] }
}

pub(crate) fn upstream_presences() -> pb::UpstreamPresences {
    let (user, device) = ("alice".into(), Some(device(Terminal::Web, "tab-1")));
    let came = pb::UpstreamPresence { user, device, online: true, at_ms: NEW_YEAR_2026_MS as i64 };
    pb::UpstreamPresences { presences: vec![came.clone(), pb::UpstreamPresence { online: false, ..came }] }
}

pub(crate) fn archive_record() -> pb::ArchiveRecord {
    let message = pb::Message {
        id: message_id(),
        from: "bob".into(),
        to: "alice".into(),
        content: Some(text("hello, alice")),
        ..Default::default()
    };
    let inbox = |user: &str| Some(pb::archive_place::Log::Inbox(user.into()));
    let channel = Some(pb::archive_place::Log::Channel("team".into()));
    let places = [(inbox("bob"), 9), (inbox("alice"), 42), (channel, 7)];
    let places = places.into_iter().map(|(log, seq)| pb::ArchivePlace { log, seq }).collect();
    pb::ArchiveRecord { message: message.encode_to_vec().into(), places }
}

pub(crate) fn raw_push() -> pb::RawPush {
    pb::RawPush { message: message_bytes(), channel: "team".into(), seq: 7 }
}

pub(crate) fn raw_response() -> pb::RawFrame {
    let history = Some(pb::RawHistory { entries: vec![raw_push()], more: true, ..Default::default() });
    let response = pb::RawResponse { number: 3, history, ..Default::default() };
    pb::RawFrame { push: None, response: Some(response) }
}

pub(crate) fn raw_joined_room() -> pb::RawFrame {
    let (online, answer) = (12_000, "welcome".into());
    let joined_room = Some(pb::RawJoinedRoom { online, answer, recent: vec![raw_push()] });
    let response = pb::RawResponse { number: 4, joined_room, ..Default::default() };
    pb::RawFrame { push: None, response: Some(response) }
}

pub(crate) fn raw_found() -> pb::RawFrame {
    let found = Some(pb::RawFound { entries: vec![raw_push()], next: Some(cursor("team", 0, message_id())) });
    let response = pb::RawResponse { number: 4, found, ..Default::default() };
    pb::RawFrame { push: None, response: Some(response) }
}

pub(crate) fn raw_conversations() -> pb::RawFrame {
    let conversation = pb::RawConversation {
        state: states().pop(),
        last: Some(raw_push()),
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
    let conversations = pb::RawConversations {
        version: 4,
        conversations: vec![conversation],
        more: true,
        unread: 3,
        unread_more: true,
        inbox_end: 42,
    };
    let response = pb::RawResponse { number: 4, conversations: Some(conversations), ..Default::default() };
    pb::RawFrame { push: None, response: Some(response) }
}

pub(crate) fn stored_conversation() -> pb::StoredConversation {
    pb::StoredConversation { state: states().pop(), peer_seq: 41, ..Default::default() }
}

/// Returns a list of one conversation with more mentions than are listed.
pub(crate) fn raw_mentions() -> pb::RawFrame {
    let conversation =
        pb::RawConversation { state: states().pop(), unread: 200, mentions: 7, ..Default::default() };
    let conversations =
        pb::RawConversations { version: 4, conversations: vec![conversation], ..Default::default() };
    let response = pb::RawResponse { number: 4, conversations: Some(conversations), ..Default::default() };
    pb::RawFrame { push: None, response: Some(response) }
}

pub(crate) fn stamped_conversation() -> pb::StoredConversation {
    let stamp =
        pb::SettingStamp { setting: 3, version: 41, at_ms: 1_800_000_000_000, device: "ios/phone".into() };
    pb::StoredConversation { stamps: vec![stamp], ..stored_conversation() }
}

pub(crate) fn server_info() -> pb::ServerInfo {
    let endpoints = vec!["quic://im1.example.com:7801".into(), "wss://im1.example.com".into()];
    pb::ServerInfo { endpoints, connections: 5000, draining: true, deaf: false }
}

pub(crate) fn device_frame(body: device_frame::Body) -> pb::DeviceFrame {
    pb::DeviceFrame { body: Some(body) }
}

pub(crate) fn ping_bytes() -> Bytes {
    frame::encode(Body::Ping(pb::Ping { echo: 7 }))
}

pub(crate) fn publish_bytes() -> Bytes {
    pb::Publish { number: 1, to: "bob".into(), content: Some(text("hi")), ..Default::default() }
        .encode_to_vec()
        .into()
}

pub(crate) fn sync_bytes() -> Bytes {
    pb::Sync { cursors: cursors() }.encode_to_vec().into()
}

pub(crate) fn ack_bytes() -> Bytes {
    pb::Ack { cursors: cursors() }.encode_to_vec().into()
}

pub(crate) fn request_bytes() -> Bytes {
    let Body::Request(request) = history_request(1, Conversation::User("bob".into()), 42, None) else {
        panic!("no request")
    };
    request.encode_to_vec().into()
}

pub(crate) fn signal_bytes() -> Bytes {
    let Body::Signal(signal) = signal_to_channel() else { panic!("no signal") };
    signal.encode_to_vec().into()
}

pub(crate) fn message_bytes() -> Bytes {
    let Body::Push(push) = push("bob", "", text("to the team")) else { panic!("no push") };
    push.message.unwrap().encode_to_vec().into()
}
