//! Conversions between these types and the SDK's.

use im_sdk::{
    client as sdk,
    id::{ChannelId, InvalidId, MessageId, UserId},
};

use super::{
    ConversationChange, ConversationPage, ConversationState, ListedConversation, MarkError, ReadMark,
    ReadReceipt, Readers, Recalled, Recipient,
};
use crate::ReceivedMessage;

impl Recipient {
    pub(crate) fn parse(self) -> Result<im_sdk::Recipient, InvalidId> {
        Ok(match self {
            Self::User { user } => im_sdk::Recipient::User(UserId::parse(&user)?),
            Self::Channel { channel } => im_sdk::Recipient::Channel(ChannelId::parse(&channel)?),
        })
    }
}

impl From<im_sdk::Recipient> for Recipient {
    fn from(recipient: im_sdk::Recipient) -> Self {
        match recipient {
            im_sdk::Recipient::User(user) => Self::User { user: user.to_string() },
            im_sdk::Recipient::Channel(channel) => Self::Channel { channel: channel.to_string() },
        }
    }
}

impl ConversationChange {
    pub(crate) fn parse(self) -> im_sdk::ConversationChange {
        let mut change = im_sdk::ConversationChange::new();
        if let Some(mark) = self.read {
            change = change.read(im_sdk::ReadMark::new(mark.seq, mark.id.and_then(MessageId::from_u64)));
        }
        if let Some(pinned) = self.pinned {
            change = change.pin(pinned);
        }
        if let Some(muted) = self.muted {
            change = match self.muted_until_ms.filter(|_| muted) {
                Some(until) => change.mute_until(until),
                None => change.mute(muted),
            };
        }
        if let Some(mentions_only) = self.mentions_only {
            change = change.mentions_only(mentions_only);
        }
        if let Some(draft) = self.draft {
            change = change.draft(draft);
        }
        if let Some(hidden) = self.hidden {
            change = if hidden == 0 { change.show() } else { change.hide(hidden) };
        }
        if let Some(deleted) = self.deleted {
            change = change.delete(deleted);
        }
        if let Some(marked_unread) = self.marked_unread {
            change = change.mark_unread(marked_unread);
        }
        change
    }
}

impl From<im_sdk::ConversationState> for ConversationState {
    fn from(state: im_sdk::ConversationState) -> Self {
        Self {
            conversation: state.conversation.into(),
            version: state.version,
            read: ReadMark { seq: state.read.seq, id: state.read.id.map(MessageId::as_u64) },
            peer_read: state.peer_read.map(MessageId::as_u64),
            pinned: state.pinned,
            muted: state.muted,
            draft: state.draft,
            hidden: state.hidden,
            deleted: state.deleted,
            joined: state.joined,
            closed: state.closed,
            marked_unread: state.marked_unread,
            muted_until_ms: state.muted_until_ms,
            mentions_only: state.mentions_only,
        }
    }
}

impl From<im_sdk::timeline::Recalled> for Recalled {
    fn from(recalled: im_sdk::timeline::Recalled) -> Self {
        Self { change: recalled.change.as_u64(), by_user: recalled.by.map(|user| user.to_string()) }
    }
}

impl From<sdk::ListedConversation> for ListedConversation {
    fn from(listed: sdk::ListedConversation) -> Self {
        Self {
            state: listed.state.into(),
            last: listed.last.map(ReceivedMessage::from),
            last_edit: listed.last_edit.map(MessageId::as_u64),
            last_recalled: listed.last_recalled.map(Recalled::from),
            end: listed.end,
            unread: listed.unread,
            unread_more: listed.unread_more,
            unread_seqs: listed.unread_seqs,
            unread_ids: listed.unread_ids.into_iter().map(MessageId::as_u64).collect(),
            mention_seqs: listed.mention_seqs,
        }
    }
}

impl From<sdk::ConversationPage> for ConversationPage {
    fn from(page: sdk::ConversationPage) -> Self {
        let listed = |list: Vec<sdk::ListedConversation>| {
            list.into_iter().map(ListedConversation::from).collect::<Vec<_>>()
        };
        Self {
            conversations: listed(page.conversations),
            hidden: listed(page.hidden),
            more: page.more,
            unread: page.unread,
            unread_more: page.unread_more,
        }
    }
}

impl From<sdk::Readers> for Readers {
    fn from(readers: sdk::Readers) -> Self {
        Self { count: readers.count, users: readers.users.iter().map(ToString::to_string).collect() }
    }
}

impl From<sdk::ReadReceipt> for ReadReceipt {
    fn from(receipt: sdk::ReadReceipt) -> Self {
        Self {
            channel: receipt.channel.to_string(),
            user: receipt.user.to_string(),
            seq: receipt.seq,
            id: receipt.id.map(MessageId::as_u64),
        }
    }
}

impl From<InvalidId> for MarkError {
    fn from(error: InvalidId) -> Self {
        Self::InvalidId { reason: error.to_string() }
    }
}

impl From<sdk::MarkError> for MarkError {
    fn from(error: sdk::MarkError) -> Self {
        let reason = error.to_string();
        match error {
            sdk::MarkError::DraftTooLong { bytes } => Self::DraftTooLong { reason, bytes: bytes as u64 },
            sdk::MarkError::QueueFull => Self::QueueFull { reason },
            // Any error of a later version: the mark was not set.
            _ => Self::Closed { reason },
        }
    }
}
