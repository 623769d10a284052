//! The overhead of frames beside their payloads. Every byte of it is sent with each delivery, each
//! heartbeat of each device, or each connection.

use std::collections::BTreeSet;

use im_proto::{
    frame,
    pb::{self, RoomLeftCause, Terminal, frame::Body, request, response, signal, signalled},
};
use prost::Message;
use prost_reflect::DynamicMessage;

use crate::{asked::*, pool::POOL, said::*, session::*};

/// Returns name, payload bytes (texts, names and tokens of that size), maximum overhead and the
/// frame. At least one of each frame.
fn sizes() -> Vec<(&'static str, usize, usize, Body)> {
    let from_16_to_16 = |text_bytes| push(&name('f'), &name('t'), text(&"x".repeat(text_bytes)));
    let to_a_room = |channel: &str, seq, text_bytes| {
        entry(channel, seq, push(&name('f'), "", text(&"x".repeat(text_bytes))))
    };
    let ends = || vec![cursor("", 100, message_id())];
    vec![
        ("hello of a new device", 216, 31, Body::Hello(pb::Hello { token: "x".repeat(200), ..phone() })),
        ("hello that resumes", 16, 39, Body::Hello(pb::Hello { cursors: ends(), ..phone() })),
        ("welcome", 16, 35, Body::Welcome(pb::Welcome { user: name('u'), ..welcome() })),
        ("ping", 0, 5, Body::Ping(pb::Ping { echo: 127 })),
        ("ping that counts to a million", 0, 7, Body::Ping(pb::Ping { echo: 1_000_000 })),
        ("pong", 0, 5, Body::Pong(pb::Pong { echo: 127 })),
        ("push to a room", 16, 38, push(&name('f'), "", text(&"x".repeat(16)))),
        ("push, a word", 16, 56, from_16_to_16(16)),
        ("push, a sentence", 128, 62, from_16_to_16(128)),
        ("push, a page", 4096, 62, from_16_to_16(4096)),
        ("entry of an inbox", 128, 64, entry("", 100, from_16_to_16(128))),
        ("entry of a room", 16, 60, to_a_room(&name('c'), 1_000_000, 16)),
        ("publish, a sentence", 128, 35, publish(1000, &name('t'), text(&"x".repeat(128)))),
        ("result", 0, 17, result(1000, accepted(message_id(), b""))),
        ("go away", 0, 7, Body::GoAway(pb::GoAway { reconnect_within_ms: 30_000 })),
        ("sync of an inbox", 0, 16, Body::Sync(pb::Sync { cursors: ends() })),
        (
            "sync of a channel too",
            16,
            33,
            Body::Sync(pb::Sync { cursors: [ends(), vec![in_room()]].concat() }),
        ),
        ("nothing new", 0, 16, Body::SyncDone(sync_done(ends()))),
        ("reset", 0, 18, reset(cursor("", 100, message_id()), pb::ResetReason::Trimmed)),
        ("a hint", 0, 6, Body::SyncHint(pb::SyncHint { within_ms: 2000, rolled_back: false })),
        ("ack", 0, 16, Body::Ack(pb::Ack { cursors: ends() })),
        ("asking for a page", 16, 15, history_of(&name('u'))),
        ("a page of one sentence", 128, 72, page(from_16_to_16(128))),
        ("done", 0, 7, response(7, response::Outcome::Done(pb::Done {}))),
        ("typing", 16, 8, typing_to(&name('t'))),
        ("somebody types", 32, 14, somebody_types()),
        ("somebody comes", 16, 12, Body::Presence(comes())),
        ("out of a room", 16, 8, out_of_a_room()),
        ("somebody has read", 32, 23, read_receipt()),
    ]
}

#[test]
fn frames_stay_small() {
    for (name, payload, at_most, body) in sizes() {
        let beside = frame::encode(body).len() - payload;
        assert!(beside <= at_most, "{name}: {beside} bytes beside the payload, {at_most} allowed");
    }
}

#[test]
fn every_frame_has_a_size() {
    let descriptor = POOL.get_message_by_name("im.v1.Frame").unwrap();
    let all: BTreeSet<_> = descriptor.fields().map(|field| field.name().to_owned()).collect();
    let measured: BTreeSet<_> = sizes().into_iter().map(|(_, _, _, body)| name_of(body)).collect();
    assert_eq!(measured, all, "a row of `sizes` for each frame");
}

/// Returns the name of the frame's field.
fn name_of(body: Body) -> String {
    let bytes = pb::Frame { body: Some(body) }.encode_to_vec();
    let descriptor = POOL.get_message_by_name("im.v1.Frame").unwrap();
    let frame = DynamicMessage::decode(descriptor, &bytes[..]).unwrap();
    frame.fields().map(|(field, _)| field.name().to_owned()).collect()
}

/// Returns an id of a common length.
fn name(letter: char) -> String {
    letter.to_string().repeat(16)
}

fn phone() -> pb::Hello {
    let device = Some(device(Terminal::Ios, &name('d')));
    pb::Hello { token: String::new(), device, ..hello() }
}

fn in_room() -> pb::Cursor {
    cursor(&name('c'), 1_000_000, message_id())
}

fn history_of(user: &str) -> Body {
    let conversation = Some(pb::history_request::Conversation::User(user.into()));
    let history = pb::HistoryRequest { conversation, before: 1_000_000, limit: 50, ..Default::default() };
    request(7, request::Question::History(history))
}

fn page(push: Body) -> Body {
    let Body::Push(push) = entry("", 100, push) else { panic!("no push") };
    response(7, response::Outcome::History(pb::History { entries: vec![push], ..Default::default() }))
}

fn typing_to(user: &str) -> Body {
    let body = Some(signal::Body::Typing(pb::Typing { stopped: false }));
    Body::Signal(pb::Signal { to: user.into(), body, ..Default::default() })
}

fn somebody_types() -> Body {
    let device = Some(device(Terminal::Web, &name('d')));
    let body = Some(signalled::Body::Typing(pb::Typing { stopped: false }));
    Body::Signalled(pb::Signalled { from: name('f'), device, channel: String::new(), body })
}

fn comes() -> pb::Presence {
    let terminal = pb::TerminalPresence { terminal: Terminal::Web.into(), online: true, last_seen_ms: 0 };
    pb::Presence { user: name('u'), terminals: vec![terminal] }
}

fn out_of_a_room() -> Body {
    let cause = RoomLeftCause::Kicked.into();
    Body::RoomLeft(pb::RoomLeft { channel: name('c'), cause, reason: String::new() })
}

fn read_receipt() -> Body {
    let receipt = pb::ReadReceipt { channel: name('c'), user: name('u'), seq: 1_000_000, id: message_id() };
    Body::ConversationsChanged(pb::ConversationsChanged { states: vec![], receipts: vec![receipt] })
}
