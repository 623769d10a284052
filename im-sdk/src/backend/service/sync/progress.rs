//! How far a sync has come, so that it can go on from there.

use std::collections::HashMap;

use bytes::Bytes;
use prost::Message as _;

use super::{Sync, log::name};
use crate::{cluster::LogId, proto::pb};

/// The most that what is left of a sync may take, which travels between processes: some four thousand logs. One that would take
/// more is not cut into parts that follow each other at once; the device asks for the next one.
const MAX_REST_BYTES: usize = 384 * 1024;

/// See the module's description.
pub(super) struct Progress {
    /// What the device knows of each log when it has what was sent.
    cursors: HashMap<String, pb::Cursor>,
    /// The log that is being sent.
    log: Option<pb::Cursor>,
    began_ms: u64,
}

impl Progress {
    pub(super) fn of(sync: &Sync) -> Self {
        Self { cursors: sync.cursors.clone(), log: None, began_ms: sync.began_ms }
    }

    /// The device is told that its user is no member.
    pub(super) fn leave(&mut self, channel: &str) {
        self.cursors.remove(channel);
    }

    /// The device gets a log that goes on behind a place.
    pub(super) fn begin(&mut self, log: &LogId, seq: u64, id: u64) {
        self.end();
        self.log = Some(pb::Cursor { channel: name(log).to_owned(), seq, id });
    }

    /// The device gets an entry of that log.
    pub(super) fn reach(&mut self, seq: u64, id: u64) {
        if let Some(log) = &mut self.log {
            (log.seq, log.id) = (seq, id);
        }
    }

    fn end(&mut self) {
        if let Some(log) = self.log.take() {
            self.cursors.insert(log.channel.clone(), log);
        }
    }

    /// What is left.
    pub(super) fn rest(mut self) -> Bytes {
        self.end();
        let (cursors, began_ms) = (self.cursors.into_values().collect(), self.began_ms);
        let rest = pb::SyncRest { cursors, began_ms };
        if rest.encoded_len() > MAX_REST_BYTES { Bytes::new() } else { rest.encode_to_vec().into() }
    }
}
