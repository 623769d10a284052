//! The progress of a sync, from which it can be continued.

use std::collections::HashMap;

use bytes::Bytes;
use prost::Message as _;

use super::{Sync, log_name};
use crate::{cluster::LogId, proto::pb};

/// The most bytes of the rest of a sync, which travels between processes: some four thousand logs.
/// A larger sync is not continued by the server; the device asks for the next one.
const MAX_REST_BYTES: usize = 384 * 1024;

/// The progress of a sync.
pub(super) struct Progress {
    /// The device's cursors once it has received all frames so far.
    cursors: HashMap<String, pb::Cursor>,
    /// The log that is being sent.
    log: Option<pb::Cursor>,
    began_ms: u64,
}

impl Progress {
    pub(super) fn of(sync: &Sync) -> Self {
        Self { cursors: sync.cursors.clone(), log: None, began_ms: sync.began_ms }
    }

    /// Notes that the device is told to leave a channel.
    pub(super) fn leave(&mut self, channel: &str) {
        self.cursors.remove(channel);
    }

    /// Notes that the device gets a log from a seq on.
    pub(super) fn begin(&mut self, log: &LogId, seq: u64, id: u64) {
        self.end();
        self.log = Some(pb::Cursor { channel: log_name(log).to_owned(), seq, id });
    }

    /// Notes that the device gets an entry of that log.
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

    /// Returns the rest.
    pub(super) fn rest(mut self) -> Bytes {
        self.end();
        let (cursors, began_ms) = (self.cursors.into_values().collect(), self.began_ms);
        let rest = pb::SyncRest { cursors, began_ms };
        if rest.encoded_len() > MAX_REST_BYTES { Bytes::new() } else { rest.encode_to_vec().into() }
    }
}
