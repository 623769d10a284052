//! Frames with as many cursors as fit.

use std::time::Instant;

use prost::Message as _;
use rand::rngs::StdRng;

use super::{Logs, follower::LogFollower};
use crate::{client::Log, proto::pb};

impl Logs {
    /// Returns the cursors for a `Hello` with room for this many bytes, the inbox first.
    pub(in crate::client::core) fn hello(&mut self, room: usize) -> Vec<pb::Cursor> {
        let mut cursors = Cursors::new(room);
        for (log, follower) in &mut self.followers {
            if !cursors.push(follower.ask_from().cursor(log)) {
                break;
            }
            follower.begin_sync();
        }
        cursors.list
    }

    /// Returns the next frame to send, of at most `room` bytes.
    pub(in crate::client::core) fn poll_transmit(
        &mut self,
        now: Instant,
        rng: &mut StdRng,
        room: usize,
    ) -> Option<pb::frame::Body> {
        // The gap may have closed since the sync was scheduled.
        if std::mem::take(&mut self.due) && self.sync_at().is_some_and(|at| at <= now) {
            let wanted = self.wanted_at().is_some_and(|at| at <= now);
            self.syncing.begin(now, rng, wanted);
            // The cause of the sync may have lost acknowledgements, too.
            self.acks.repeat(now);
            return Some(pb::frame::Body::Sync(pb::Sync { cursors: self.sync(room) }));
        }
        self.ack(now, room).map(pb::frame::Body::Ack)
    }

    /// Returns all cursors that fit, first those of logs that are out of sync.
    fn sync(&mut self, room: usize) -> Vec<pb::Cursor> {
        let mut cursors = Cursors::new(room);
        let out_of_sync = std::mem::take(&mut self.out_of_sync);
        let others = self.followers.keys().filter(|log| !out_of_sync.contains(log));
        let order: Vec<Log> = out_of_sync.iter().chain(others).cloned().collect();
        for log in order {
            let Some(follower) = self.followers.get_mut(&log) else { continue };
            if cursors.push(follower.ask_from().cursor(&log)) {
                follower.begin_sync();
            } else {
                // The server takes this log for a new one, so its answer must not count.
                follower.told = None;
            }
            self.note(&log);
        }
        cursors.list
    }

    fn ack(&mut self, now: Instant, room: usize) -> Option<pb::Ack> {
        self.acks.peek()?;
        let mut cursors = Cursors::new(room);
        while let Some(log) = self.acks.peek() {
            let acked = self.followers.get(log).and_then(LogFollower::acked);
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

/// The bytes of a frame's tag and length.
const FRAME_OVERHEAD: usize = 16;
