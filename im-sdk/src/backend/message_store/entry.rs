//! Entries of message stores.

use bytes::Bytes;
use prost::Message as _;

use super::Amendment;
use crate::{
    Kind,
    cluster::{ArchiveRecord, Entry, LogId},
    id::{InvalidId, MessageId, UserId},
    proto::pb,
};

/// An entry of a log in a message store.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoredEntry {
    /// The log.
    pub log: LogId,
    /// The seq in the log.
    pub seq: u64,
    /// The message's id, which contains the time of sending.
    pub message_id: MessageId,
    /// In an inbox, the other user of the conversation, if the message is between two.
    pub peer: Option<UserId>,
    /// The sender, or `None` for the backend itself.
    pub from: Option<UserId>,
    /// The kind of the content, for queries: a [`Kind`] as text, such as `text` or
    /// `custom:order.paid`, or empty without content.
    pub kind: String,
    /// The encoded `im.v1.Message`.
    pub message: Bytes,
}

/// An entry of a log or of the message store as it is kept.
#[derive(Debug)]
pub(in crate::backend) struct RawEntry {
    pub(in crate::backend) seq: u64,
    pub(in crate::backend) message_id: MessageId,
    pub(in crate::backend) message: Bytes,
}

impl From<Entry> for RawEntry {
    fn from(entry: Entry) -> Self {
        Self { seq: entry.seq, message_id: entry.message_id, message: entry.payload }
    }
}

impl From<StoredEntry> for RawEntry {
    fn from(entry: StoredEntry) -> Self {
        Self { seq: entry.seq, message_id: entry.message_id, message: entry.message }
    }
}

/// A record of the archive is not a message.
#[derive(Clone, Debug, thiserror::Error)]
#[error("what was archived is no message: {reason}")]
pub struct NotAMessage {
    reason: String,
}

impl NotAMessage {
    fn because(reason: impl ToString) -> Self {
        Self { reason: reason.to_string() }
    }
}

impl From<InvalidId> for NotAMessage {
    fn from(error: InvalidId) -> Self {
        Self::because(error)
    }
}

impl StoredEntry {
    /// Returns the entries of a record, one for each of its positions.
    ///
    /// # Errors
    /// [`NotAMessage`].
    pub fn of(record: &ArchiveRecord) -> Result<Vec<Self>, NotAMessage> {
        let message = pb::Message::decode(record.message.clone()).map_err(NotAMessage::because)?;
        let id = MessageId::from_u64(message.id).ok_or_else(|| NotAMessage::because("it has no valid id"))?;
        let from = if message.from.is_empty() { None } else { Some(UserId::parse(&message.from)?) };
        let kind = kind(&record.message);
        let entries = record.places.iter().map(|place| Self {
            log: place.log.clone(),
            seq: place.seq,
            message_id: id,
            peer: match &place.log {
                LogId::Inbox(owner) => peer(owner, &message),
                LogId::Channel(_) => None,
            },
            from: from.clone(),
            kind: kind.clone(),
            message: record.message.clone(),
        });
        Ok(entries.collect())
    }

    /// Applies a recall or an edit. Returns `true` if the entry has changed.
    pub fn amend(&mut self, amendment: &Amendment) -> bool {
        let Some(message) = amendment.apply(&self.message) else { return false };
        self.kind = kind(&message);
        self.message = message;
        true
    }

    /// Returns the key of the entry in a store.
    pub fn key(&self) -> StoredKey {
        StoredKey { message_id: self.message_id, log: self.log.clone() }
    }

    /// Returns the time of sending, in milliseconds since the Unix epoch.
    pub fn sent_at_ms(&self) -> u64 {
        self.message_id.unix_ms()
    }
}

/// The key of an entry in a store. Its order is that of searches: by time, and by log for the same
/// message.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StoredKey {
    /// The message's id.
    pub message_id: MessageId,
    /// The log.
    pub log: LogId,
}

/// Returns the kind of an encoded message for [`StoredEntry::kind`].
pub(super) fn kind(message: &Bytes) -> String {
    Kind::of_message(message).map(|kind| kind.to_string()).unwrap_or_default()
}

/// Removes the content of a message.
pub(super) fn redacted(id: MessageId, message: Bytes) -> Bytes {
    let message = pb::Message::decode(message).unwrap_or_default();
    pb::Message { id: id.as_u64(), content: None, ..message }.encode_to_vec().into()
}

/// Returns the peer of an inbox's owner in a message's conversation, or `None` if the message is
/// from the backend itself or to several users.
pub(in crate::backend) fn peer(owner: &UserId, message: &pb::Message) -> Option<UserId> {
    let other = match message.content.as_ref().and_then(|content| content.body.as_ref()) {
        // A change by the backend between two users.
        Some(pb::content::Body::Change(change)) if message.from.is_empty() => {
            change.between.iter().find(|user| *user != owner.as_str())?
        }
        _ if message.from == owner.as_str() => &message.to,
        _ => &message.from,
    };
    UserId::parse(other).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        cluster::LogPosition,
        content::{Change, Content},
    };

    fn message(from: &str, to: &str, content: Content) -> pb::Message {
        let id = MessageId::first_at(1_800_000_000_000).as_u64() + 7;
        pb::Message {
            id,
            from: from.into(),
            to: to.into(),
            content: Some(content.into()),
            ..Default::default()
        }
    }

    fn entries(message: &pb::Message, owners: &[&str]) -> Vec<StoredEntry> {
        let place = |owner: &&str| LogPosition::new(LogId::Inbox(owner.parse().unwrap()), 1);
        let places = owners.iter().map(place).collect();
        StoredEntry::of(&ArchiveRecord::new(message.encode_to_vec().into(), places)).unwrap()
    }

    #[test]
    fn each_side_sees_the_other() {
        let peers = |from, to, owners: &[&str]| -> Vec<Option<String>> {
            let entries = entries(&message(from, to, Content::text("hi")), owners);
            entries.into_iter().map(|entry| entry.peer.map(|peer| peer.to_string())).collect()
        };
        let bob = || Some("bob".to_owned());
        assert_eq!(peers("alice", "bob", &["alice", "bob"]), [bob(), Some("alice".to_owned())]);
        assert_eq!(peers("bob", "bob", &["bob"]), [bob()], "notes to oneself");
        assert_eq!(peers("", "bob", &["bob"]), [None], "from the backend");
        let mut change = Change::recall(MessageId::from_u64(7).unwrap());
        change.between = ["alice", "bob"].map(|user| user.parse().unwrap()).into();
        let changed = entries(&message("", "", change.into()), &["alice", "bob"]);
        let peers_of_change: Vec<_> = changed.into_iter().map(|entry| entry.peer.unwrap()).collect();
        assert_eq!(peers_of_change, ["bob", "alice"].map(|user| UserId::parse(user).unwrap()));
        assert_eq!(peers("bob", "", &["bob", "carol"]), [None, bob()], "to several");
    }

    #[test]
    fn kinds_fit_into_any_database() {
        let kind =
            |kind: &str| entries(&message("", "bob", Content::custom(kind, "")), &["bob"]).remove(0).kind;
        assert_eq!(kind("order.paid"), "custom:order.paid");
        assert_eq!(kind("a\0b\n"), "custom:ab");
        assert_eq!(kind("text"), "custom:text", "nobody's own text is text");
        assert_eq!(entries(&message("", "bob", Content::text("x")), &["bob"])[0].kind, "text");
        assert_eq!(
            entries(&message("", "bob", Content::text("x")), &["bob"])[0].sent_at_ms(),
            1_800_000_000_000
        );
    }

    #[test]
    fn what_is_no_message_is_an_error() {
        let without_id = pb::Message { id: 0, ..message("", "bob", Content::text("hi")) };
        let from_nobody = message("not a user", "bob", Content::text("hi"));
        let broken = Bytes::from_static(b"\xff");
        for wrong in [without_id.encode_to_vec().into(), from_nobody.encode_to_vec().into(), broken] {
            assert!(StoredEntry::of(&ArchiveRecord::new(wrong, Vec::new())).is_err());
        }
    }
}
