//! Golden bytes of everything that travels.
//!
//! The tables below say what is written; `vectors/frames.json` says as which bytes, for clients in every language
//! (PROTOCOL.md, "Test vectors", describes the file). A change of the wire format shows as a difference of that file.
//! To write it anew after an intended change:
//!
//! ```sh
//! UPDATE_VECTORS=1 cargo test -p im-proto --test frames
//! ```
//!
//! [`no_field_is_missing`] fails when a message, a field or an enum value is in no vector.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, also in its helpers")]

mod kinds;

use std::{collections::BTreeSet, env, fs, sync::LazyLock};

use bytes::Bytes;
use im_proto::{
    close::CloseCode,
    frame::{self, FrameError},
    id::{MessageId, NodeId},
    limits::MAX_FRAME_BYTES,
    pb::{
        self, CallStep, RefusalKind, ResetReason, RoomLeftCause, Terminal, content, device_frame,
        frame::Body, history_request::Conversation, publish_result::Outcome, record::Effect, request,
        response, search_request::Conversation as Search, signal, signalled,
    },
};
use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, Kind, Value};

const VECTORS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/vectors/frames.json");

static POOL: LazyLock<DescriptorPool> = LazyLock::new(|| {
    DescriptorPool::decode(&include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"))[..]).unwrap()
});

/// Every frame, as a session would have it: alice's phone connects, writes to bob, and bob answers.
fn frames() -> Vec<(&'static str, Body)> {
    vec![
        ("hello", Body::Hello(hello())),
        ("hello.resuming", Body::Hello(pb::Hello { cursors: cursors(), ..hello() })),
        ("welcome", Body::Welcome(welcome())),
        ("ping", Body::Ping(pb::Ping { echo: 7 })),
        ("ping.zero", Body::Ping(pb::Ping { echo: 0 })),
        ("ping.largest", Body::Ping(pb::Ping { echo: u64::MAX })),
        ("pong", Body::Pong(pb::Pong { echo: 7 })),
        ("push.text", push("bob", "alice", text("hello, alice"))),
        ("push.text.long", push("bob", "alice", text(&"é".repeat(100)))),
        ("push.custom", push("", "alice", custom("order.paid", b"\x00\xff"))),
        ("push.to_several", push("bob", "", text("to you all"))),
        ("push.unknown_content", push("bob", "alice", pb::Content::default())),
        ("push.inbox", entry("", 42, push("bob", "alice", text("hello, alice")))),
        ("push.channel", entry("team", 7, push("bob", "", text("to the team")))),
        ("sync", Body::Sync(pb::Sync { cursors: cursors() })),
        ("sync.nothing_known", Body::Sync(pb::Sync { cursors: vec![cursor("team", 0, 0)] })),
        ("sync_done", Body::SyncDone(pb::SyncDone { ends: vec![inbox_42(), cursor("team", 9, NEXT_ID)] })),
        ("reset.new", reset(inbox_42(), ResetReason::New)),
        ("reset.empty", reset(cursor("", 0, 0), ResetReason::New)),
        ("reset.trimmed", reset(cursor("team", 900, NEXT_ID), ResetReason::Trimmed)),
        ("reset.forked", reset(cursor("team", 5, NEXT_ID), ResetReason::Forked)),
        ("sync_hint", Body::SyncHint(pb::SyncHint { within_ms: 2000, rolled_back: false })),
        ("sync_hint.rolled_back", Body::SyncHint(pb::SyncHint { within_ms: 2000, rolled_back: true })),
        ("reset.left", reset(cursor("team", 0, 0), ResetReason::Left)),
        ("ack", Body::Ack(pb::Ack { cursors: vec![inbox_42()] })),
        ("publish.text", publish(1, "bob", text("hi"))),
        ("publish.custom", publish(300, "bob", custom("typing", b""))),
        ("publish.channel", publish_to_channel(2, "team", text("hi, all"))),
        ("publish_result.accepted", result(1, accepted(message_id(), b""))),
        ("publish_result.answered", result(300, accepted(0, b"ok"))),
        ("publish_result.rule", result(2, refused(RefusalKind::Rule, "blocked by bob", -17, 0))),
        ("publish_result.unavailable", result(2, refused(RefusalKind::Unavailable, "no back end", 0, 1000))),
        ("publish_result.invalid", result(2, refused(RefusalKind::Invalid, "no content", 0, 0))),
        ("publish_result.too_many", result(66, refused(RefusalKind::TooMany, "64 are waiting", 0, 200))),
        ("publish_result.internal", result(2, refused(RefusalKind::Internal, "", 0, 1000))),
        ("request.history.user", history_request(1, Conversation::User("bob".into()), 42, None)),
        ("request.history.channel", history_request(2, Conversation::Channel("team".into()), 0, Some(7))),
        ("request.history.inbox", history_request(3, Conversation::Inbox(true), 0, None)),
        ("request.history.beginning", history_request(3, Conversation::Inbox(true), 0, Some(0))),
        ("request.history.filtered", filtered_history_request()),
        ("request.search", search_request(pb::SearchRequest { text: "hello".into(), ..Default::default() })),
        ("request.search.user", search_request(search_in(Search::User("bob".into())))),
        ("request.search.channel", search_request(search_in(Search::Channel("team".into())))),
        ("request.search.inbox", search_request(search_in(Search::Inbox(true)))),
        ("response.history", response(1, response::Outcome::History(history()))),
        ("response.history.empty", response(2, response::Outcome::History(pb::History::default()))),
        (
            "response.history.next",
            response(2, response::Outcome::History(pb::History { next: 42, more: true, entries: vec![] })),
        ),
        ("response.found", response(4, response::Outcome::Found(found()))),
        ("response.found.nothing", response(4, response::Outcome::Found(pb::Found::default()))),
        ("response.refused", response_refused()),
        ("request.join_room", request(4, request::Question::JoinRoom(join_room()))),
        ("request.leave_room", request(5, request::Question::LeaveRoom(leave_room()))),
        ("request.watch", request(6, request::Question::Watch(watch(&["bob", "carol"])))),
        ("request.watch.nobody", request(6, request::Question::Watch(watch(&[])))),
        ("response.joined_room", response(4, response::Outcome::JoinedRoom(joined_room()))),
        ("response.done", response(5, response::Outcome::Done(pb::Done {}))),
        ("response.presences", response(6, response::Outcome::Presences(presences()))),
        ("signal.typing", signal(signal::Body::Typing(pb::Typing { stopped: false }))),
        ("signal.channel", signal_to_channel()),
        ("signal.device", signal_to_device()),
        ("signal.custom", signal(signal::Body::Custom(custom_signal()))),
        ("signalled.typing", signalled("", signalled::Body::Typing(pb::Typing { stopped: true }))),
        ("signalled.channel", signalled("team", signalled::Body::Custom(custom_signal()))),
        ("signalled.ring", signalled("", signalled::Body::Call(call(CallStep::Ring, b"")))),
        ("signalled.cancel", signalled("", signalled::Body::Call(call(CallStep::Cancel, b"")))),
        ("signalled.busy", signalled("", signalled::Body::Call(call(CallStep::Busy, b"")))),
        ("signalled.offer", signalled("", signalled::Body::Call(call(CallStep::Offer, b"sdp")))),
        ("signalled.answer", signalled("", signalled::Body::Call(call(CallStep::Answer, b"sdp")))),
        ("signalled.candidate", signalled("", signalled::Body::Call(call(CallStep::Candidate, b"udp")))),
        ("signalled.hangup", signalled("", signalled::Body::Call(call(CallStep::Hangup, b"")))),
        (
            "signalled.answered_elsewhere",
            signalled("", signalled::Body::Call(call(CallStep::AnsweredElsewhere, b""))),
        ),
        ("presence", Body::Presence(presence())),
        ("room_left.kicked", room_left(RoomLeftCause::Kicked, "be kind")),
        ("room_left.closed", room_left(RoomLeftCause::Closed, "")),
        ("request.conversations", request(4, request::Question::Conversations(list_request()))),
        ("request.conversations.since", request(5, request::Question::Conversations(since_request()))),
        ("request.mark", request(6, request::Question::Mark(pb::MarkRequest { marks: marks() }))),
        ("request.readers", request(7, request::Question::Readers(readers_request()))),
        ("response.conversations", response(4, response::Outcome::Conversations(conversations()))),
        ("response.marked", response(6, response::Outcome::Marked(pb::Marked { states: states() }))),
        ("response.readers", response(7, response::Outcome::Readers(readers()))),
        ("conversations_changed", Body::ConversationsChanged(conversations_changed())),
        ("go_away", Body::GoAway(pb::GoAway { reconnect_within_ms: 30_000 })),
    ]
}

/// Every other message, also those inside frames that deserve a look on their own.
fn messages() -> Vec<Vector> {
    let mut messages = vec![
        message("device.web", device(Terminal::Web, "tab-1")),
        message("device.android", device(Terminal::Android, "a-1")),
        message("device.ios", device(Terminal::Ios, "4f1c")),
        message("device.desktop", device(Terminal::Desktop, "pc")),
        message("device.mini_program", device(Terminal::MiniProgram, "m")),
        message("device.other", device(Terminal::Other, "fridge")),
        message("content.text", text("hi")),
        message("content.custom", custom("order.paid", b"\x00\xff")),
        message("content.unknown", pb::Content::default()),
        message("cursor.inbox", inbox_42()),
        message("cursor.channel", cursor("team", 7, message_id())),
        message("envelope", envelope()),
        message("envelope.goodbye", goodbye()),
        message("record.frames", record(Effect::Frames(ping_bytes()))),
        message("record.kick", record(Effect::Kick(pb::Kick { code: 4403, reason: "replaced".into() }))),
        message(
            "record.answer",
            record(Effect::Answer(pb::PublishAnswer { number: 1, frames: ping_bytes() })),
        ),
        message(
            "record.channel",
            pb::Record {
                channel: "team".into(),
                connections: vec![],
                ..record(Effect::Frames(ping_bytes()))
            },
        ),
        message("record.join", record(Effect::Join(channels()))),
        message("record.leave", record(Effect::Leave(channels()))),
        message(
            "record.join.watch",
            record(Effect::Join(pb::Channels { way: pb::Way::Watch.into(), only: true, ..channels() })),
        ),
        message(
            "record.leave.room",
            record(Effect::Leave(pb::Channels { way: pb::Way::Room.into(), ..channels() })),
        ),
        message("record.count", record(Effect::Count(pb::Done {}))),
        message(
            "record.low",
            pb::Record { priority: pb::Priority::Low.into(), ..record(Effect::Frames(ping_bytes())) },
        ),
        message(
            "record.everyone",
            pb::Record {
                priority: pb::Priority::Normal.into(),
                everyone: true,
                connections: vec![],
                ..record(Effect::Frames(ping_bytes()))
            },
        ),
        message(
            "record.response",
            record(Effect::Response(pb::RequestAnswer { number: 1, frames: ping_bytes() })),
        ),
        message("delivered", delivered()),
        message("delivered.reached", reached()),
        message("delivered.all", pb::Delivered { missed: vec![], ..delivered() }),
        message("upstream", upstream()),
        message("upstream_publish.room", upstream_from_room()),
        message("upstream_sync", upstream_sync()),
        message("upstream_request", upstream_request()),
        message("upstream_acks", upstream_acks()),
        message("upstream_signals", upstream_signals()),
        message("upstream_presences", upstream_presences()),
        message("raw_push", raw_push()),
        message("raw_frame", pb::RawFrame { push: Some(raw_push()), response: None }),
        message("raw_frame.response", raw_response()),
        message("raw_frame.joined_room", raw_joined_room()),
        message("raw_history.next", pb::RawHistory { entries: vec![], more: true, next: 42 }),
        message("raw_frame.found", raw_found()),
        message("raw_frame.conversations", raw_conversations()),
        message("stored_conversation", stored_conversation()),
        message("device_frame.hello", device_frame(device_frame::Body::Hello(hello()))),
        message("device_frame.ping", device_frame(device_frame::Body::Ping(pb::Ping { echo: 7 }))),
        message("device_frame.pong", device_frame(device_frame::Body::Pong(pb::Pong { echo: 7 }))),
        message("device_frame.publish", device_frame(device_frame::Body::Publish(publish_bytes()))),
        message("device_frame.sync", device_frame(device_frame::Body::Sync(sync_bytes()))),
        message("device_frame.ack", device_frame(device_frame::Body::Ack(ack_bytes()))),
        message("device_frame.request", device_frame(device_frame::Body::Request(request_bytes()))),
        message("device_frame.signal", device_frame(device_frame::Body::Signal(signal_bytes()))),
        message("publish_head", pb::PublishHead { number: 1, channel: String::new() }),
        message("publish_head.channel", pb::PublishHead { number: 1, channel: "lobby".into() }),
        message("request_head", pb::RequestHead { number: 1 }),
        message("signal_head", pb::SignalHead { channel: "lobby".into() }),
        message("server_info", server_info()),
        message("archive_record", archive_record()),
    ];
    messages.extend(kinds::kinds().into_iter().map(|(name, content)| message(name, content)));
    messages
}

/// Frames that no writer here writes and every reader reads: name, bytes, what is read (`None`: ignored).
fn readable() -> Vec<(&'static str, &'static str, Option<Body>)> {
    let ping = || Some(Body::Ping(pb::Ping { echo: 7 }));
    vec![
        ("no_body", "00", None),
        ("unknown_body", "06 aa 01 03 01 02 03", None),
        ("unknown_body.last_reserved", "03 fa 01 00", None),
        ("unknown_field_in_body", "06 1a 04 08 07 10 01", ping()),
        ("unknown_field_beside_body", "07 1a 02 08 07 a8 01 05", ping()),
        ("prefix_longer_than_needed", "84 80 00 1a 02 08 07", ping()),
        ("last_body_counts", "08 22 02 08 01 1a 02 08 07", ping()),
        ("unknown_content", "08 2a 06 0a 04 22 02 72 00", unknown_content()),
        ("unknown_reset_reason", "08 5a 06 0a 02 10 07 10 63", unknown_reset_reason()),
        ("unknown_refusal", "08 3a 06 08 02 1a 02 08 63", unknown_refusal()),
    ]
}

/// WebSocket messages that a reader with the default limits refuses: name, bytes, the close code that follows.
fn refusals() -> Vec<(&'static str, &'static str, CloseCode)> {
    vec![
        ("one_byte_over_the_limit", "81 80 04", CloseCode::FrameTooLarge),
        ("largest_prefix", "ff ff ff ff 0f", CloseCode::FrameTooLarge),
        ("prefix_of_six_bytes", "80 80 80 80 80 01", CloseCode::ProtocolError),
        ("ends_in_prefix", "80", CloseCode::ProtocolError),
        ("ends_in_frame", "04 1a 02 08", CloseCode::ProtocolError),
        ("body_longer_than_frame", "02 1a 05", CloseCode::ProtocolError),
        ("field_number_zero", "02 00 00", CloseCode::ProtocolError),
    ]
}

#[test]
fn golden_bytes() {
    let written = render();
    if env::var_os("UPDATE_VECTORS").is_some() {
        fs::write(VECTORS, &written).unwrap();
    }
    let golden = fs::read_to_string(VECTORS).unwrap();
    for (number, (golden, written)) in golden.lines().zip(written.lines()).enumerate() {
        assert_eq!(golden, written, "line {} of {VECTORS}; see the top of frames.rs", number + 1);
    }
    assert_eq!(golden, written);
}

#[test]
fn everything_reads_back() {
    for (name, body) in frames() {
        let bytes = frame::encode(body.clone());
        let read: Vec<_> =
            frame::split(bytes, MAX_FRAME_BYTES).map(|frame| frame::decode(frame.unwrap())).collect();
        assert_eq!(read, [Ok(Some(body))], "{name}");
    }
    for vector in messages() {
        assert!((vector.reads_back)(&vector.bytes), "{}", vector.name);
    }
}

/// Clients start from the JSON: it must lead to the same bytes.
#[test]
fn json_means_the_bytes() {
    for vector in vectors() {
        let descriptor = POOL.get_message_by_name(&vector.kind).unwrap();
        let json = vector.json();
        let mut reader = serde_json::Deserializer::from_str(&json);
        let read = DynamicMessage::deserialize(descriptor, &mut reader).unwrap();
        assert_eq!(hex(&read.encode_to_vec()), hex(&vector.bytes), "{}", vector.name);
    }
}

#[test]
fn lenient_where_the_protocol_says_so() {
    for (name, bytes, body) in readable() {
        let frames: Vec<_> = frame::split(unhex(bytes), MAX_FRAME_BYTES).collect();
        let [Ok(frame)] = &frames[..] else { panic!("{name}: {frames:?}") };
        assert_eq!(frame::decode(frame.clone()), Ok(body), "{name}");
    }
}

#[test]
fn strict_where_the_protocol_says_so() {
    for (name, bytes, code) in refusals() {
        let mut frames = frame::split(unhex(bytes), MAX_FRAME_BYTES);
        let error = frames.next().unwrap().and_then(frame::decode).unwrap_err();
        let follows = match error {
            FrameError::TooLarge { .. } => CloseCode::FrameTooLarge,
            _ => CloseCode::ProtocolError,
        };
        assert_eq!(follows, code, "{name}: {error}");
    }
}

/// What a frame costs beside its payload. Every byte here is paid per delivery or per heartbeat of every device.
#[test]
fn frames_stay_small() {
    let from_16_to_16 = |text_bytes| push(&"f".repeat(16), &"t".repeat(16), text(&"x".repeat(text_bytes)));
    let to_a_room = |channel: &str, seq, text_bytes| {
        entry(channel, seq, push(&"f".repeat(16), "", text(&"x".repeat(text_bytes))))
    };
    let sizes = [
        ("ping", 0, 5, Body::Ping(pb::Ping { echo: 127 })),
        ("ping that counts to a million", 0, 7, Body::Ping(pb::Ping { echo: 1_000_000 })),
        ("pong", 0, 5, Body::Pong(pb::Pong { echo: 127 })),
        ("push to a room", 16, 38, push(&"f".repeat(16), "", text(&"x".repeat(16)))),
        ("push, a word", 16, 56, from_16_to_16(16)),
        ("push, a sentence", 128, 62, from_16_to_16(128)),
        ("push, a page", 4096, 62, from_16_to_16(4096)),
        ("entry of an inbox", 128, 64, entry("", 100, from_16_to_16(128))),
        ("entry of a room", 16, 60, to_a_room(&"c".repeat(16), 1_000_000, 16)),
        ("ack", 0, 17, Body::Ack(pb::Ack { cursors: vec![cursor("", 100, message_id())] })),
        ("somebody has read", 0, 60, read_receipt()),
        ("publish, a sentence", 128, 35, publish(1000, &"t".repeat(16), text(&"x".repeat(128)))),
        ("typing", 16, 27, typing_to(&"f".repeat(16))),
        ("result", 0, 17, result(1000, accepted(message_id(), b""))),
        ("go away", 0, 7, Body::GoAway(pb::GoAway { reconnect_within_ms: 30_000 })),
    ];
    for (name, payload, at_most, body) in sizes {
        let beside = frame::encode(body).len() - payload;
        assert!(beside <= at_most, "{name}: {beside} bytes beside the payload, {at_most} allowed");
    }
}

/// A server reads devices' frames as `DeviceFrame`: what it knows must read the same, the rest as nothing.
#[test]
fn device_frames_read_what_frames_write() {
    for (name, body) in frames() {
        let read = read_as_device_frame(body.clone());
        let expected = match body {
            Body::Hello(hello) => Some(device_frame::Body::Hello(hello)),
            Body::Ping(ping) => Some(device_frame::Body::Ping(ping)),
            Body::Pong(pong) => Some(device_frame::Body::Pong(pong)),
            Body::Publish(publish) => Some(device_frame::Body::Publish(publish.encode_to_vec().into())),
            Body::Sync(sync) => Some(device_frame::Body::Sync(sync.encode_to_vec().into())),
            Body::Ack(ack) => Some(device_frame::Body::Ack(ack.encode_to_vec().into())),
            Body::Request(request) => Some(device_frame::Body::Request(request.encode_to_vec().into())),
            Body::Signal(signal) => Some(device_frame::Body::Signal(signal.encode_to_vec().into())),
            Body::Signalled(_) | Body::Presence(_) | Body::RoomLeft(_) | Body::ConversationsChanged(_) => {
                None
            }
            Body::Welcome(_) | Body::Push(_) | Body::PublishResult(_) | Body::GoAway(_) => None,
            Body::SyncDone(_) | Body::Reset(_) | Body::SyncHint(_) | Body::Response(_) => None,
        };
        assert_eq!(read.body, expected, "{name}");
        match read.body {
            Some(device_frame::Body::Publish(bytes)) => {
                let (publish, head) = (pb::Publish::decode(bytes.clone()), pb::PublishHead::decode(bytes));
                let (publish, head) = (publish.unwrap(), head.unwrap());
                assert_eq!((head.number, head.channel), (publish.number, publish.channel), "{name}");
            }
            Some(device_frame::Body::Request(bytes)) => {
                let number = pb::Request::decode(bytes.clone()).unwrap().number;
                assert_eq!(pb::RequestHead::decode(bytes).unwrap().number, number, "{name}");
            }
            Some(device_frame::Body::Signal(bytes)) => {
                let channel = pb::Signal::decode(bytes.clone()).unwrap().channel;
                assert_eq!(pb::SignalHead::decode(bytes).unwrap().channel, channel, "{name}");
            }
            _ => {}
        }
    }
}

/// What a server passes on is what the device wrote: also fields that nobody here knows, in the device's order.
#[test]
fn a_publish_is_passed_on_byte_for_byte() {
    let publish = unhex("1a 06 0a 04 0a 02 68 69 f8 07 05 12 03 62 6f 62 08 01");
    let frame = pb::DeviceFrame { body: Some(device_frame::Body::Publish(publish.clone())) };
    let bytes = Bytes::from(frame.encode_to_vec());

    let read = pb::DeviceFrame::decode(bytes.clone()).unwrap();
    let Some(device_frame::Body::Publish(passed_on)) = read.body else { panic!("{read:?}") };
    assert_eq!(passed_on, publish);
    assert!(bytes.as_ptr_range().contains(&passed_on.as_ptr()), "shared, not copied");

    let known = frame::decode(bytes).unwrap();
    assert_eq!(known, Some(self::publish(1, "bob", text("hi"))));
}

/// A back end writes entries as `RawFrame`, with the message as it stands in the log: devices read a `Frame`.
#[test]
fn raw_frames_read_as_frames() {
    let raw = pb::RawFrame { push: Some(raw_push()), response: None }.encode_to_vec();
    let read = frame::decode(raw.into()).unwrap();
    let push = entry("team", 7, push("bob", "", text("to the team")));
    assert_eq!(read, Some(push.clone()));

    let Body::Push(push) = push else { panic!("{push:?}") };
    let history = pb::History { entries: vec![push], more: true, next: 0 };
    let read = frame::decode(raw_response().encode_to_vec().into()).unwrap();
    assert_eq!(read, Some(response(3, response::Outcome::History(history))));
    let read = frame::decode(raw_conversations().encode_to_vec().into()).unwrap();
    assert_eq!(read, Some(response(4, response::Outcome::Conversations(conversations()))));

    let read = frame::decode(raw_joined_room().encode_to_vec().into()).unwrap();
    assert_eq!(read, Some(response(4, response::Outcome::JoinedRoom(joined_room()))));

    let read = frame::decode(raw_found().encode_to_vec().into()).unwrap();
    assert_eq!(read, Some(response(4, response::Outcome::Found(found()))));
}

#[test]
fn no_field_is_missing() {
    let mut missing = BTreeSet::new();
    for message in POOL.all_messages() {
        // The entries of a map are no messages of their own.
        let fields = message.fields().filter(|_| !message.is_map_entry());
        missing.extend(fields.map(|field| field.full_name().to_owned()));
    }
    for kind in POOL.all_enums() {
        let set = kind.values().filter(|value| value.number() != 0);
        missing.extend(set.map(|value| value.full_name().to_owned()));
    }
    for vector in vectors() {
        remove_what_is_set(&vector.dynamic(), &mut missing);
    }
    assert!(missing.is_empty(), "in no vector: {missing:#?}");
}

fn remove_what_is_set(message: &DynamicMessage, missing: &mut BTreeSet<String>) {
    assert_eq!(
        message.unknown_fields().count(),
        0,
        "the generated types write what the .proto files do not tell"
    );
    for (field, value) in message.fields() {
        missing.remove(field.full_name());
        let values = if let Value::List(values) = value { &values[..] } else { std::slice::from_ref(value) };
        for value in values {
            match (value, field.kind()) {
                (Value::Message(message), _) => remove_what_is_set(message, missing),
                (Value::EnumNumber(number), Kind::Enum(kind)) => {
                    missing.remove(kind.get_value(*number).unwrap().full_name());
                }
                _ => {}
            }
        }
    }
}

type ReadsBack = Box<dyn Fn(&[u8]) -> bool>;

/// One message and what it looks like.
struct Vector {
    name: &'static str,
    /// Its type's full name, such as `im.v1.Frame`.
    kind: String,
    /// Without length prefix.
    bytes: Bytes,
    reads_back: ReadsBack,
}

fn message<M: Message + Default + PartialEq + 'static>(name: &'static str, message: M) -> Vector {
    let kind = std::any::type_name::<M>().rsplit("::").next().unwrap();
    Vector {
        name,
        kind: format!("im.v1.{kind}"),
        bytes: message.encode_to_vec().into(),
        reads_back: Box::new(move |bytes| M::decode(bytes).as_ref() == Ok(&message)),
    }
}

impl Vector {
    fn dynamic(&self) -> DynamicMessage {
        let descriptor = POOL.get_message_by_name(&self.kind).unwrap();
        DynamicMessage::decode(descriptor, self.bytes.clone()).unwrap()
    }

    /// As protobuf's own JSON mapping has it, fields in the order of their numbers.
    fn json(&self) -> String {
        serde_json::to_string(&self.dynamic()).unwrap()
    }
}

fn frame_vectors() -> Vec<Vector> {
    frames().into_iter().map(|(name, body)| message(name, pb::Frame { body: Some(body) })).collect()
}

fn vectors() -> impl Iterator<Item = Vector> {
    frame_vectors().into_iter().chain(messages())
}

/// The whole file. One entry to a line, so that differences are readable.
fn render() -> String {
    let frames = frames().into_iter().zip(frame_vectors()).map(|((name, body), vector)| {
        format!("\"name\":\"{name}\",\"hex\":\"{}\",\"json\":{}", hex(&frame::encode(body)), vector.json())
    });
    let messages = messages().into_iter().map(|vector| {
        let Vector { name, kind, bytes, .. } = &vector;
        format!(
            "\"name\":\"{name}\",\"type\":\"{kind}\",\"hex\":\"{}\",\"json\":{}",
            hex(bytes),
            vector.json()
        )
    });
    let readable = readable().into_iter().map(|(name, bytes, body)| {
        let json = message(name, pb::Frame { body }).json();
        format!("\"name\":\"{name}\",\"hex\":\"{}\",\"json\":{json}", hex(&unhex(bytes)))
    });
    let refused = refusals().into_iter().map(|(name, bytes, code)| {
        format!("\"name\":\"{name}\",\"hex\":\"{}\",\"code\":{}", hex(&unhex(bytes)), code.code())
    });
    let sections = [
        section("frames", frames),
        section("messages", messages),
        section("readable", readable),
        section("refused", refused),
    ];
    format!("{{\n{}\n}}\n", sections.join(",\n"))
}

fn section(name: &str, entries: impl Iterator<Item = String>) -> String {
    let entries: Vec<String> = entries.map(|entry| format!("    {{{entry}}}")).collect();
    format!("  \"{name}\": [\n{}\n  ]", entries.join(",\n"))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Bytes {
    text.split(' ').map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect()
}

fn read_as_device_frame(body: Body) -> pb::DeviceFrame {
    let frame = pb::Frame { body: Some(body) };
    pb::DeviceFrame::decode(&frame.encode_to_vec()[..]).unwrap()
}

fn hello() -> pb::Hello {
    pb::Hello {
        min_version: 1,
        max_version: 1,
        token: "header.claims.signature".into(),
        device: Some(device(Terminal::Ios, "4f1c")),
        client: "example/1.0".into(),
        cursors: Vec::new(),
    }
}

fn welcome() -> pb::Welcome {
    pb::Welcome {
        version: 1,
        user: "alice".into(),
        connection: 7,
        server_time_ms: NEW_YEAR_2026_MS as i64,
        heartbeat_ms: 30_000,
        limits: Some(pb::Limits { max_frame_bytes: 65_536, max_inflight_publishes: 64 }),
    }
}

fn device(terminal: Terminal, id: &str) -> pb::Device {
    pb::Device { terminal: terminal.into(), id: id.into() }
}

fn text(text: &str) -> pb::Content {
    content::Body::Text(pb::Text { text: text.into() }).into()
}

fn custom(kind: &str, data: &'static [u8]) -> pb::Content {
    let data = Bytes::from_static(data);
    content::Body::Custom(pb::Custom { kind: kind.into(), data }).into()
}

fn push(from: &str, to: &str, content: pb::Content) -> Body {
    let message = pb::Message { id: message_id(), from: from.into(), to: to.into(), content: Some(content) };
    Body::Push(pb::Push { message: Some(message), ..Default::default() })
}

/// The push with its place in a log.
fn entry(channel: &str, seq: u64, push: Body) -> Body {
    let Body::Push(push) = push else { panic!("{push:?}") };
    Body::Push(pb::Push { channel: channel.into(), seq, ..push })
}

fn cursor(channel: &str, seq: u64, id: u64) -> pb::Cursor {
    pb::Cursor { channel: channel.into(), seq, id }
}

fn inbox_42() -> pb::Cursor {
    cursor("", 42, message_id())
}

fn cursors() -> Vec<pb::Cursor> {
    vec![inbox_42(), cursor("team", 7, message_id())]
}

fn reset(cursor: pb::Cursor, reason: ResetReason) -> Body {
    Body::Reset(pb::Reset { cursor: Some(cursor), reason: reason.into() })
}

fn publish(number: u64, to: &str, content: pb::Content) -> Body {
    Body::Publish(pb::Publish { number, to: to.into(), content: Some(content), channel: String::new() })
}

fn publish_to_channel(number: u64, channel: &str, content: pb::Content) -> Body {
    let channel = channel.to_owned();
    Body::Publish(pb::Publish { number, to: String::new(), content: Some(content), channel })
}

fn history_request(number: u64, conversation: Conversation, before: u64, after: Option<u64>) -> Body {
    let conversation = Some(conversation);
    let history = pb::HistoryRequest { conversation, before, after, limit: 50, ..Default::default() };
    Body::Request(pb::Request { number, question: Some(request::Question::History(history)) })
}

fn filtered_history_request() -> Body {
    let history = pb::HistoryRequest {
        conversation: Some(Conversation::Inbox(true)),
        before_id: NEXT_ID,
        after_id: message_id(),
        since_ms: NEW_YEAR_2026_MS,
        until_ms: NEW_YEAR_2026_MS + 1,
        kinds: kinds(),
        ..Default::default()
    };
    Body::Request(pb::Request { number: 5, question: Some(request::Question::History(history)) })
}

fn kinds() -> Vec<pb::ContentKind> {
    let custom = pb::ContentKind { number: 15, custom: "order.paid".into() };
    vec![pb::ContentKind { number: 1, ..Default::default() }, custom]
}

fn search_request(search: pb::SearchRequest) -> Body {
    Body::Request(pb::Request { number: 4, question: Some(request::Question::Search(search)) })
}

fn search_in(conversation: Search) -> pb::SearchRequest {
    pb::SearchRequest {
        text: "hello 你好".into(),
        conversation: Some(conversation),
        kinds: kinds(),
        from: "bob".into(),
        since_ms: NEW_YEAR_2026_MS,
        until_ms: NEW_YEAR_2026_MS + 1,
        before: Some(cursor("team", 0, message_id())),
        limit: 20,
    }
}

fn found() -> pb::Found {
    let Body::Push(push) = entry("team", 7, push("bob", "", text("to the team"))) else { panic!("no push") };
    pb::Found { entries: vec![push], next: Some(cursor("team", 0, message_id())) }
}

fn list_request() -> pb::ConversationsRequest {
    pb::ConversationsRequest { since: None, limit: 50, skip: 100 }
}

fn since_request() -> pb::ConversationsRequest {
    pb::ConversationsRequest { since: Some(0), limit: 0, skip: 0 }
}

fn marks() -> Vec<pb::Mark> {
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

fn states() -> Vec<pb::ConversationState> {
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

fn conversations() -> pb::Conversations {
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

fn raw_conversations() -> pb::RawFrame {
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

fn last_recall() -> pb::LastRecall {
    pb::LastRecall { change: NEXT_ID, by: "bob".into() }
}

fn stored_conversation() -> pb::StoredConversation {
    pb::StoredConversation { state: states().pop(), peer_seq: 41 }
}

fn readers_request() -> pb::ReadersRequest {
    pb::ReadersRequest { channel: "team".into(), seq: 7, limit: 20 }
}

fn readers() -> pb::Readers {
    pb::Readers { count: 120, users: vec!["bob".into(), "carol".into()] }
}

fn read_receipt() -> Body {
    let receipt =
        pb::ReadReceipt { channel: "c".repeat(16), user: "u".repeat(16), seq: 1_000_000, id: message_id() };
    Body::ConversationsChanged(pb::ConversationsChanged { states: vec![], receipts: vec![receipt] })
}

fn conversations_changed() -> pb::ConversationsChanged {
    let receipt = pb::ReadReceipt { channel: "team".into(), user: "bob".into(), seq: 7, id: message_id() };
    pb::ConversationsChanged { states: states(), receipts: vec![receipt] }
}

fn response(number: u64, outcome: response::Outcome) -> Body {
    Body::Response(pb::Response { number, outcome: Some(outcome) })
}

fn response_refused() -> Body {
    let Outcome::Refused(refused) = refused(RefusalKind::Unavailable, "no back end", 0, 1000) else {
        panic!("not refused")
    };
    response(3, response::Outcome::Refused(refused))
}

fn history() -> pb::History {
    let Body::Push(push) = entry("", 41, push("bob", "alice", text("hello, alice"))) else {
        panic!("no push")
    };
    pb::History { entries: vec![push], more: true, next: 0 }
}

fn channels() -> pb::Channels {
    pb::Channels { channels: vec!["team".into(), "lobby".into()], ..Default::default() }
}

fn result(number: u64, outcome: Outcome) -> Body {
    Body::PublishResult(pb::PublishResult { number, outcome: Some(outcome) })
}

fn accepted(message_id: u64, answer: &'static [u8]) -> Outcome {
    Outcome::Accepted(pb::Accepted { message_id, answer: Bytes::from_static(answer) })
}

fn refused(kind: RefusalKind, reason: &str, code: i32, retry_after_ms: u32) -> Outcome {
    Outcome::Refused(pb::Refused { kind: kind.into(), reason: reason.into(), code, retry_after_ms })
}

fn unknown_content() -> Option<Body> {
    let message = pb::Message {
        content: Some(pb::Content { unknown: vec![0x72, 0], ..Default::default() }),
        ..Default::default()
    };
    Some(Body::Push(pb::Push { message: Some(message), ..Default::default() }))
}

fn unknown_reset_reason() -> Option<Body> {
    Some(Body::Reset(pb::Reset { cursor: Some(cursor("", 7, 0)), reason: 99 }))
}

fn unknown_refusal() -> Option<Body> {
    Some(result(2, Outcome::Refused(pb::Refused { kind: 99, ..Default::default() })))
}

fn envelope() -> pb::Envelope {
    let records = vec![
        record(Effect::Frames(ping_bytes())),
        record(Effect::Kick(pb::Kick { code: 4404, reason: "banned".into() })),
    ];
    let (publisher, answer_to) = ("shop-7f3a".into(), "im.bk.shop-7f3a".into());
    pb::Envelope { publisher, number: 42, answer_to, records, goodbye: false }
}

fn goodbye() -> pb::Envelope {
    pb::Envelope { publisher: "shop-7f3a".into(), number: 42, goodbye: true, ..Default::default() }
}

fn record(effect: Effect) -> pb::Record {
    pb::Record { connections: vec![7, 1 << 40], effect: Some(effect), ..Default::default() }
}

fn delivered() -> pb::Delivered {
    let missed = vec![pb::Missed { record: 1, connections: vec![7] }];
    pb::Delivered { server: "edge-1_a01b".into(), number: 42, missed, reached: vec![] }
}

fn reached() -> pb::Delivered {
    let reached = vec![pb::Reached { record: 2, connections: 900, shed: 100 }];
    pb::Delivered { reached, ..delivered() }
}

fn upstream() -> pb::Upstream {
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

fn upstream_from_room() -> pb::UpstreamPublish {
    pb::UpstreamPublish { in_room: true, ..upstream().publishes.remove(0) }
}

fn upstream_sync() -> pb::UpstreamSync {
    pb::UpstreamSync {
        server: "edge-1_a01b".into(),
        connection: 7,
        user: "alice".into(),
        device: Some(device(Terminal::Ios, "4f1c")),
        sync: sync_bytes(),
    }
}

fn upstream_request() -> pb::UpstreamRequest {
    pb::UpstreamRequest {
        server: "edge-1_a01b".into(),
        connection: 7,
        user: "alice".into(),
        device: Some(device(Terminal::Ios, "4f1c")),
        request: request_bytes(),
    }
}

fn archive_record() -> pb::ArchiveRecord {
    let message = pb::Message {
        id: message_id(),
        from: "bob".into(),
        to: "alice".into(),
        content: Some(text("hello, alice")),
    };
    let inbox = |user: &str| Some(pb::archive_place::Log::Inbox(user.into()));
    let channel = Some(pb::archive_place::Log::Channel("team".into()));
    let places = [(inbox("bob"), 9), (inbox("alice"), 42), (channel, 7)];
    let places = places.into_iter().map(|(log, seq)| pb::ArchivePlace { log, seq }).collect();
    pb::ArchiveRecord { message: message.encode_to_vec().into(), places }
}

fn upstream_acks() -> pb::UpstreamAcks {
    let ack = pb::UpstreamAck {
        user: "alice".into(),
        device: Some(device(Terminal::Ios, "4f1c")),
        ack: ack_bytes(),
    };
    pb::UpstreamAcks { acks: vec![ack] }
}

fn raw_push() -> pb::RawPush {
    pb::RawPush { message: message_bytes(), channel: "team".into(), seq: 7 }
}

fn raw_response() -> pb::RawFrame {
    let history = Some(pb::RawHistory { entries: vec![raw_push()], more: true, next: 0 });
    let response = pb::RawResponse { number: 3, history, ..Default::default() };
    pb::RawFrame { push: None, response: Some(response) }
}

fn raw_joined_room() -> pb::RawFrame {
    let (online, answer) = (12_000, "welcome".into());
    let joined_room = Some(pb::RawJoinedRoom { online, answer, recent: vec![raw_push()] });
    let response = pb::RawResponse { number: 4, joined_room, ..Default::default() };
    pb::RawFrame { push: None, response: Some(response) }
}

fn raw_found() -> pb::RawFrame {
    let found = Some(pb::RawFound { entries: vec![raw_push()], next: Some(cursor("team", 0, message_id())) });
    let response = pb::RawResponse { number: 4, found, ..Default::default() };
    pb::RawFrame { push: None, response: Some(response) }
}

fn request(number: u64, question: request::Question) -> Body {
    Body::Request(pb::Request { number, question: Some(question) })
}

fn join_room() -> pb::JoinRoom {
    pb::JoinRoom { channel: "lobby".into(), data: "ticket".into() }
}

fn leave_room() -> pb::LeaveRoom {
    pb::LeaveRoom { channel: "lobby".into() }
}

fn watch(users: &[&str]) -> pb::Watch {
    pb::Watch { users: users.iter().map(ToString::to_string).collect() }
}

fn joined_room() -> pb::JoinedRoom {
    let Body::Push(push) = entry("team", 7, push("bob", "", text("to the team"))) else { panic!("no push") };
    pb::JoinedRoom { online: 12_000, answer: "welcome".into(), recent: vec![push] }
}

fn presence() -> pb::Presence {
    let terminal = |terminal: Terminal, online, last_seen_ms| pb::TerminalPresence {
        terminal: terminal.into(),
        online,
        last_seen_ms,
    };
    let away = terminal(Terminal::Ios, false, NEW_YEAR_2026_MS as i64);
    pb::Presence { user: "bob".into(), terminals: vec![terminal(Terminal::Web, true, 0), away] }
}

fn presences() -> pb::Presences {
    let never_seen = pb::Presence { user: "carol".into(), terminals: vec![] };
    pb::Presences { presences: vec![presence(), never_seen] }
}

fn room_left(cause: RoomLeftCause, reason: &str) -> Body {
    Body::RoomLeft(pb::RoomLeft { channel: "lobby".into(), cause: cause.into(), reason: reason.into() })
}

fn signal(body: signal::Body) -> Body {
    Body::Signal(pb::Signal { to: "bob".into(), body: Some(body), ..Default::default() })
}

fn typing_to(user: &str) -> Body {
    let body = Some(signal::Body::Typing(pb::Typing { stopped: false }));
    Body::Signal(pb::Signal { to: user.into(), body, ..Default::default() })
}

fn signal_to_channel() -> Body {
    let body = signal::Body::Typing(pb::Typing { stopped: true });
    Body::Signal(pb::Signal { channel: "lobby".into(), body: Some(body), ..Default::default() })
}

fn signal_to_device() -> Body {
    let device = Some(device(Terminal::Ios, "4f1c"));
    let body = Some(signal::Body::Call(call(CallStep::Candidate, b"udp")));
    Body::Signal(pb::Signal { to: "bob".into(), channel: String::new(), device, body })
}

fn signalled(channel: &str, body: signalled::Body) -> Body {
    let (from, device) = ("alice".into(), Some(device(Terminal::Web, "tab-1")));
    Body::Signalled(pb::Signalled { from, device, channel: channel.into(), body: Some(body) })
}

fn call(step: CallStep, data: &'static [u8]) -> pb::Call {
    pb::Call { id: "c-17".into(), step: step.into(), data: Bytes::from_static(data) }
}

fn custom_signal() -> pb::Custom {
    pb::Custom { kind: "cursor".into(), data: Bytes::from_static(b"\x00\xff") }
}

fn upstream_signals() -> pb::UpstreamSignals {
    let (user, device) = ("alice".into(), Some(device(Terminal::Web, "tab-1")));
    let signal = pb::UpstreamSignal { user, device, signal: signal_bytes(), in_room: true };
    pb::UpstreamSignals { signals: vec![signal] }
}

fn upstream_presences() -> pb::UpstreamPresences {
    let (user, device) = ("alice".into(), Some(device(Terminal::Web, "tab-1")));
    let came = pb::UpstreamPresence { user, device, online: true, at_ms: NEW_YEAR_2026_MS as i64 };
    pb::UpstreamPresences { presences: vec![came.clone(), pb::UpstreamPresence { online: false, ..came }] }
}

fn signal_bytes() -> Bytes {
    let Body::Signal(signal) = signal_to_channel() else { panic!("no signal") };
    signal.encode_to_vec().into()
}

fn server_info() -> pb::ServerInfo {
    let endpoints = vec!["quic://im1.example.com:7801".into(), "wss://im1.example.com".into()];
    pb::ServerInfo { endpoints, connections: 5000, draining: true }
}

fn device_frame(body: device_frame::Body) -> pb::DeviceFrame {
    pb::DeviceFrame { body: Some(body) }
}

fn ping_bytes() -> Bytes {
    frame::encode(Body::Ping(pb::Ping { echo: 7 }))
}

fn publish_bytes() -> Bytes {
    pb::Publish { number: 1, to: "bob".into(), content: Some(text("hi")), channel: String::new() }
        .encode_to_vec()
        .into()
}

fn sync_bytes() -> Bytes {
    pb::Sync { cursors: cursors() }.encode_to_vec().into()
}

fn ack_bytes() -> Bytes {
    pb::Ack { cursors: cursors() }.encode_to_vec().into()
}

fn request_bytes() -> Bytes {
    let Body::Request(request) = history_request(1, Conversation::User("bob".into()), 42, None) else {
        panic!("no request")
    };
    request.encode_to_vec().into()
}

fn message_bytes() -> Bytes {
    let Body::Push(push) = push("bob", "", text("to the team")) else { panic!("no push") };
    push.message.unwrap().encode_to_vec().into()
}

/// The id that the same node issued next.
const NEXT_ID: u64 = 132_271_570_944_005_124;

const NEW_YEAR_2026_MS: u64 = 1_767_225_600_000;

fn message_id() -> u64 {
    MessageId::from_parts(NEW_YEAR_2026_MS, NodeId::new(5).unwrap(), 3).as_u64()
}
