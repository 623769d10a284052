//! Vectors of requests and responses, rooms and presence.

use im_proto::pb::{
    self, RefusalKind, RoomLeftCause, Terminal, frame::Body, history_request::Conversation,
    publish_result::Outcome, request, response, search_request::Conversation as Search,
};

use crate::{
    said::{entry, push, refused, text},
    session::{NEW_YEAR_2026_MS, NEXT_ID, cursor, message_id},
};

pub(crate) fn request(number: u64, question: request::Question) -> Body {
    Body::Request(pb::Request { number, question: Some(question) })
}

pub(crate) fn response(number: u64, outcome: response::Outcome) -> Body {
    Body::Response(pb::Response { number, outcome: Some(outcome) })
}

pub(crate) fn response_refused() -> Body {
    let Outcome::Refused(refused) = refused(RefusalKind::Unavailable, "no back end", 0, 1000) else {
        panic!("not refused")
    };
    response(3, response::Outcome::Refused(refused))
}

pub(crate) fn history_request(
    number: u64,
    conversation: Conversation,
    before: u64,
    after: Option<u64>,
) -> Body {
    let conversation = Some(conversation);
    let history = pb::HistoryRequest { conversation, before, after, limit: 50, ..Default::default() };
    Body::Request(pb::Request { number, question: Some(request::Question::History(history)) })
}

pub(crate) fn filtered_history_request() -> Body {
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

pub(crate) fn kinds() -> Vec<pb::ContentKind> {
    let custom = pb::ContentKind { number: 15, custom: "order.paid".into() };
    vec![pb::ContentKind { number: 1, ..Default::default() }, custom]
}

pub(crate) fn search_request(search: pb::SearchRequest) -> Body {
    Body::Request(pb::Request { number: 4, question: Some(request::Question::Search(search)) })
}

pub(crate) fn search_in(conversation: Search) -> pb::SearchRequest {
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

pub(crate) fn history() -> pb::History {
    let Body::Push(push) = entry("", 41, push("bob", "alice", text("hello, alice"))) else {
        panic!("no push")
    };
    pb::History { entries: vec![push], more: true, ..Default::default() }
}

pub(crate) fn changed_history() -> pb::History {
    pb::History { changes: history().entries, ..Default::default() }
}

pub(crate) fn messages_request() -> Body {
    let conversation = Some(Conversation::Inbox(true));
    let history = pb::HistoryRequest { conversation, messages: true, ..Default::default() };
    Body::Request(pb::Request { number: 3, question: Some(request::Question::History(history)) })
}

pub(crate) fn found() -> pb::Found {
    let Body::Push(push) = entry("team", 7, push("bob", "", text("to the team"))) else { panic!("no push") };
    pb::Found { entries: vec![push], next: Some(cursor("team", 0, message_id())) }
}

pub(crate) fn join_room() -> pb::JoinRoom {
    pb::JoinRoom { channel: "lobby".into(), data: "ticket".into() }
}

pub(crate) fn leave_room() -> pb::LeaveRoom {
    pb::LeaveRoom { channel: "lobby".into() }
}

pub(crate) fn watch(users: &[&str]) -> pb::Watch {
    pb::Watch { users: users.iter().map(ToString::to_string).collect() }
}

pub(crate) fn joined_room() -> pb::JoinedRoom {
    let Body::Push(push) = entry("team", 7, push("bob", "", text("to the team"))) else { panic!("no push") };
    pb::JoinedRoom { online: 12_000, answer: "welcome".into(), recent: vec![push] }
}

pub(crate) fn presence() -> pb::Presence {
    let terminal = |terminal: Terminal, online, last_seen_ms| pb::TerminalPresence {
        terminal: terminal.into(),
        online,
        last_seen_ms,
    };
    let away = terminal(Terminal::Ios, false, NEW_YEAR_2026_MS as i64);
    pb::Presence { user: "bob".into(), terminals: vec![terminal(Terminal::Web, true, 0), away] }
}

pub(crate) fn presences() -> pb::Presences {
    let never_seen = pb::Presence { user: "carol".into(), terminals: vec![] };
    pb::Presences { presences: vec![presence(), never_seen] }
}

pub(crate) fn room_left(cause: RoomLeftCause, reason: &str) -> Body {
    Body::RoomLeft(pb::RoomLeft { channel: "lobby".into(), cause: cause.into(), reason: reason.into() })
}
