//! Records of the archive's queue.

use bytes::Bytes;
use prost::Message as _;

use crate::cluster::log_id::LogId;
use crate::{
    id::{ChannelId, UserId},
    proto::pb,
};

/// A message with all its positions in logs: one record, so that it is archived for all of its logs
/// or for none.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ArchiveRecord {
    /// The message as the logs store it: an encoded `im.v1.Message`.
    pub message: Bytes,
    /// Its positions, at least one.
    pub places: Vec<LogPosition>,
}

/// A position in a log.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogPosition {
    /// The log.
    pub log: LogId,
    /// The seq of the entry.
    pub seq: u64,
}

impl LogPosition {
    /// Creates a position.
    pub fn new(log: LogId, seq: u64) -> Self {
        Self { log, seq }
    }
}

impl ArchiveRecord {
    /// Creates a record.
    pub fn new(message: Bytes, places: Vec<LogPosition>) -> Self {
        Self { message, places }
    }

    /// Encodes the record for the queue. Equal records have equal bytes.
    pub(in crate::cluster) fn encode(&self) -> Bytes {
        let places = self.places.iter().map(|place| {
            let log = match &place.log {
                LogId::Inbox(user) => pb::archive_place::Log::Inbox(user.to_string()),
                LogId::Channel(channel) => pb::archive_place::Log::Channel(channel.to_string()),
            };
            pb::ArchivePlace { log: Some(log), seq: place.seq }
        });
        let places = places.collect();
        pb::ArchiveRecord { message: self.message.clone(), places }.encode_to_vec().into()
    }

    /// Decodes a record, or returns `None` if this version of this program did not write it.
    pub(in crate::cluster) fn decode(bytes: Bytes) -> Option<Self> {
        let pb::ArchiveRecord { message, places } = pb::ArchiveRecord::decode(bytes).ok()?;
        let places = places.into_iter().map(|place| {
            let log = match place.log? {
                pb::archive_place::Log::Inbox(user) => LogId::Inbox(UserId::parse(&user).ok()?),
                pb::archive_place::Log::Channel(channel) => LogId::Channel(ChannelId::parse(&channel).ok()?),
            };
            Some(LogPosition { log, seq: place.seq })
        });
        Some(Self { message, places: places.collect::<Option<_>>()? })
    }
}

/// Returns the key of an encoded record. Appending the same bytes again means the same record.
pub(in crate::cluster) fn key(encoded: &[u8]) -> [u8; 16] {
    let hash = ring::digest::digest(&ring::digest::SHA256, encoded);
    std::array::from_fn(|index| hash.as_ref()[index])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_reads_back() {
        let places = vec![
            LogPosition::new(LogId::Inbox("bob".parse().unwrap()), 7),
            LogPosition::new(LogId::Channel("team".parse().unwrap()), u64::MAX),
        ];
        let record = ArchiveRecord::new(Bytes::from_static(b"\x09hello"), places);
        assert_eq!(ArchiveRecord::decode(record.encode()), Some(record.clone()));
        assert_eq!(key(&record.encode()), key(&record.encode()));
        let elsewhere = ArchiveRecord { places: record.places[1..].to_vec(), ..record.clone() };
        assert_ne!(key(&record.encode()), key(&elsewhere.encode()));
    }

    #[test]
    fn what_makes_no_sense_is_no_record() {
        assert_eq!(ArchiveRecord::decode(Bytes::from_static(b"\xff")), None);
        for log in [None, Some(pb::archive_place::Log::Inbox("not a user".into()))] {
            let places = vec![pb::ArchivePlace { log, seq: 1 }];
            let record = pb::ArchiveRecord { message: Bytes::new(), places };
            assert_eq!(ArchiveRecord::decode(record.encode_to_vec().into()), None);
        }
    }
}
