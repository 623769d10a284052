//! Logs: accepted and held entries, and the times of syncs.

mod cursors;
mod forks;
mod syncs;

use super::*;
use crate::{
    client::{
        ReceivedMessage,
        core::logs::{ACK_INTERVAL, HOLD, MAX_HELD},
    },
    id::MessageId,
};

const TEAM: &str = "team";

/// Returns the id of an entry on a branch of its log.
fn id(seq: u64, branch: u64) -> u64 {
    branch * 1_000_000 + seq
}

fn entry(channel: &str, seq: u64) -> pb::frame::Body {
    entry_of(channel, seq, 1)
}

fn entry_of(channel: &str, seq: u64, branch: u64) -> pb::frame::Body {
    let pb::frame::Body::Push(push) = push(id(seq, branch), "bob") else { panic!("no push") };
    pb::frame::Body::Push(pb::Push { channel: channel.to_owned(), seq, ..push })
}

fn at(channel: &str, seq: u64) -> pb::Cursor {
    cursor(channel, seq, if seq == 0 { 0 } else { id(seq, 1) })
}

fn reset(cursor: pb::Cursor, reason: pb::ResetReason) -> pb::frame::Body {
    pb::frame::Body::Reset(pb::Reset { cursor: Some(cursor), reason: reason.into() })
}

/// Describes an event, such as `team 7` or `reset team 7 new`.
fn shown(event: &Event) -> String {
    let place = |position: &Position| format!("{} {}", position.log, position.seq);
    match event {
        Event::Message(ReceivedMessage { position: Some(position), .. }) => place(position),
        Event::Message(_) => "live".to_owned(),
        Event::Reset { position, reason } => format!("reset {} {}", place(position), reason.as_str()),
        Event::UpToDate => "up to date".to_owned(),
        other => panic!("{other:?}"),
    }
}

impl Harness {
    /// Connects, with the inbox at 10 and the team at 20.
    fn following() -> Self {
        let mut test = Self::new();
        test.core.handle_connect(test.now);
        test.connect_all_the_way();
        test.receive(reset(at("", 10), pb::ResetReason::New));
        test.receive(reset(at(TEAM, 20), pb::ResetReason::New));
        test.receive(sync_done(&[at("", 10), at(TEAM, 20)]));
        test.drain();
        test
    }

    fn shown(&mut self) -> Vec<String> {
        self.events().iter().filter(|event| **event != Event::UpToDate).map(shown).collect()
    }

    fn sent_sync(&mut self) -> Vec<(String, u64)> {
        match self.sent() {
            pb::frame::Body::Sync(sync) => places(sync.cursors),
            other => panic!("{other:?}"),
        }
    }

    fn sent_sync_soon(&mut self) -> Vec<(String, u64)> {
        self.pass(Duration::ZERO);
        self.sent_sync()
    }

    fn acknowledge(&mut self, channel: &str, seq: u64) {
        let log = Log::parse(channel).unwrap();
        let id = MessageId::from_u64(id(seq, 1));
        self.core.handle_ack(self.now, Position { log, seq, id });
    }

    fn sent_ack(&mut self) -> Vec<(String, u64)> {
        match self.sent() {
            pb::frame::Body::Ack(ack) => places(ack.cursors),
            other => panic!("{other:?}"),
        }
    }

    /// Returns the time until the next sync is requested. Skips all other frames.
    fn time_to_sync(&mut self, at_most: Duration) -> Option<Duration> {
        let start = self.now;
        while self.now < start + at_most {
            self.receive(pb::frame::Body::Pong(pb::Pong { echo: 0 }));
            while let Some(body) = self.try_sent() {
                if matches!(body, pb::frame::Body::Sync(_)) {
                    return Some(self.now - start);
                }
            }
            self.pass(10 * MS);
        }
        None
    }
}

fn places(cursors: Vec<pb::Cursor>) -> Vec<(String, u64)> {
    cursors.into_iter().map(|cursor| (cursor.channel, cursor.seq)).collect()
}

fn all_at(inbox: u64, team: u64) -> Vec<(String, u64)> {
    vec![(String::new(), inbox), (TEAM.to_owned(), team)]
}
