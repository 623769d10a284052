//! Decoded entries of logs.

use bytes::Bytes;
use prost::Message as _;

use crate::{
    backend::message_store::RawEntry,
    content::{Change, ChangeKind, Content},
    conversation::message::stands_alone,
    id::ChannelId,
    proto::pb,
};

/// A decoded entry.
pub(super) struct Read {
    pub(super) entry: RawEntry,
    pub(super) from: String,
    pub(super) content: Content,
}

impl Read {
    /// Decodes an entry. One that cannot be decoded has unknown content.
    pub(super) fn new(entry: impl Into<RawEntry>) -> Self {
        let entry = entry.into();
        let message = pb::Message::decode(entry.message.clone()).unwrap_or_default();
        Self::of(entry, message)
    }

    /// Builds a read entry from its decoded message.
    pub(super) fn of(entry: RawEntry, message: pb::Message) -> Self {
        Self { entry, from: message.from, content: message.content.into() }
    }

    /// Returns `true` if it can be shown as a message.
    pub(super) fn stands_alone(&self) -> bool {
        stands_alone(&self.content)
    }

    /// Returns the channel of the message that it changes, if that is in another log.
    pub(super) fn channel(&self) -> Option<&ChannelId> {
        self.content.as_change()?.channel.as_ref()
    }

    /// Returns the parts of a change of another log that matter to a list, without large ones. Only
    /// recalls and deletions are in another log than their message.
    pub(super) fn slim(self) -> Option<Self> {
        let change = self.content.as_change()?;
        let slim = match change.kind {
            ChangeKind::DeleteForMe => Change::delete_for_me(change.message_id),
            ChangeKind::Recall => Change::recall(change.message_id),
            _ => return None,
        };
        let entry = RawEntry { message: Bytes::new(), ..self.entry };
        Some(Self { entry, from: self.from, content: slim.into() })
    }
}
