//! What is said of the logs: cursors, as many as fit.

use std::time::Instant;

use prost::Message as _;
use rand::rngs::StdRng;

use super::{Logs, followed::Followed};
use crate::{client::Log, proto::pb};

impl Logs {
    /// The cursors for a `Hello` that has room for as many bytes, the inbox first.
    pub(in crate::client::core) fn hello(&mut self, room: usize) -> Vec<pb::Cursor> {
        let mut cursors = Cursors::new(room);
        for (log, followed) in &mut self.followed {
            if !cursors.push(followed.ask_from().cursor(log)) {
                break;
            }
            followed.begin_sync();
        }
        cursors.list
    }

    /// The next frame to send, of at most `room` bytes.
    pub(in crate::client::core) fn poll_transmit(
        &mut self,
        now: Instant,
        rng: &mut StdRng,
        room: usize,
    ) -> Option<pb::frame::Body> {
        // The gap may have closed since it was due.
        if std::mem::take(&mut self.due) && self.sync_at().is_some_and(|at| at <= now) {
            let wanted = self.wanted_at().is_some_and(|at| at <= now);
            self.syncing.begin(now, rng, wanted);
            // The reasons for a sync are reasons to think that acknowledgements were lost as well.
            self.acks.repeat(now);
            return Some(pb::frame::Body::Sync(pb::Sync { cursors: self.sync(room) }));
        }
        self.ack(now, room).map(pb::frame::Body::Ack)
    }

    /// All cursors that fit, those first that something is missing of.
    fn sync(&mut self, room: usize) -> Vec<pb::Cursor> {
        let mut cursors = Cursors::new(room);
        let troubled = std::mem::take(&mut self.troubled);
        let others = self.followed.keys().filter(|log| !troubled.contains(log));
        let order: Vec<Log> = troubled.iter().chain(others).cloned().collect();
        for log in order {
            let Some(followed) = self.followed.get_mut(&log) else { continue };
            if cursors.push(followed.ask_from().cursor(&log)) {
                followed.begin_sync();
            } else {
                // The answer takes it for a log that is new here, which must not count.
                followed.told = None;
            }
            self.note(&log);
        }
        cursors.list
    }

    fn ack(&mut self, now: Instant, room: usize) -> Option<pb::Ack> {
        self.acks.peek()?;
        let mut cursors = Cursors::new(room);
        while let Some(log) = self.acks.peek() {
            let acked = self.followed.get(log).and_then(Followed::acked);
            if acked.is_some_and(|acked| !cursors.push(acked.cursor(log))) {
                break;
            }
            self.acks.pop();
        }
        self.acks.end(now);
        let something = !cursors.list.is_empty();
        something.then_some(pb::Ack { cursors: cursors.list })
    }
}

/// Cursors that fit into a frame.
struct Cursors {
    list: Vec<pb::Cursor>,
    room: usize,
}

impl Cursors {
    fn new(room: usize) -> Self {
        Self { list: Vec::new(), room: room.saturating_sub(FRAME_OVERHEAD) }
    }

    fn push(&mut self, cursor: pb::Cursor) -> bool {
        // The longest cursor takes less than 128 bytes, so its tag and its length take one byte each.
        let bytes = cursor.encoded_len() + 2;
        let fits = bytes <= self.room;
        if fits {
            self.room -= bytes;
            self.list.push(cursor);
        }
        fits
    }
}

/// Tag and length of a frame's body.
const FRAME_OVERHEAD: usize = 16;
