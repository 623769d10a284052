//! What lies in the archive.

use bytes::Bytes;
use prost::Message as _;

use crate::{cluster::LogId, id::ChannelId, id::UserId, proto::pb};

/// A message and every place that it has in a log: one record, so that it is archived for all of its logs or for none.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ArchiveRecord {
    /// The message as it stands in the logs: an encoded `im.v1.Message`.
    pub message: Bytes,
    /// Its places, at least one.
    pub places: Vec<ArchivePlace>,
}

/// A place in a log.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ArchivePlace {
    /// Which log.
    pub log: LogId,
    /// Where in it.
    pub seq: u64,
}

impl ArchivePlace {
    /// A place.
    pub fn new(log: LogId, seq: u64) -> Self {
        Self { log, seq }
    }
}

impl ArchiveRecord {
    /// A record.
    pub fn new(message: Bytes, places: Vec<ArchivePlace>) -> Self {
        Self { message, places }
    }

    /// As it lies in the archive. The same record has always the same bytes.
    pub(super) fn encode(&self) -> Bytes {
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

    /// `None`: it was not written by this version, or not by this program.
    pub(super) fn decode(bytes: Bytes) -> Option<Self> {
        let pb::ArchiveRecord { message, places } = pb::ArchiveRecord::decode(bytes).ok()?;
        let places = places.into_iter().map(|place| {
            let log = match place.log? {
                pb::archive_place::Log::Inbox(user) => LogId::Inbox(UserId::parse(&user).ok()?),
                pb::archive_place::Log::Channel(channel) => LogId::Channel(ChannelId::parse(&channel).ok()?),
            };
            Some(ArchivePlace { log, seq: place.seq })
        });
        Some(Self { message, places: places.collect::<Option<_>>()? })
    }
}

/// What a record is known by: who appends the same bytes again means the same record.
pub(super) fn key(encoded: &[u8]) -> [u8; 16] {
    let hash = ring::digest::digest(&ring::digest::SHA256, encoded);
    std::array::from_fn(|index| hash.as_ref()[index])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_reads_back() {
        let places = vec![
            ArchivePlace::new(LogId::Inbox("bob".parse().unwrap()), 7),
            ArchivePlace::new(LogId::Channel("team".parse().unwrap()), u64::MAX),
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
