//! Changes of users' states of conversations.

use std::sync::Arc;

use prost::Message as _;

use super::{ConversationError, push::StatePusher};
use crate::{
    ConversationChange, MAX_DRAFT_BYTES, ReadMark, Recipient,
    backend::{message_store::peer, send::message_ids::now_ms},
    cluster::{
        ChangeOrigin, ChangedConversation, Cluster, ConversationPatch, Entry, LogError, LogId, ReadLimit,
    },
    id::{ChannelId, Device, UserId},
    proto::pb,
};

/// Changes the states of conversations.
#[derive(Debug)]
pub(in crate::backend) struct ConversationMarks {
    cluster: Cluster,
    pusher: Arc<StatePusher>,
}

impl ConversationMarks {
    pub(super) fn new(cluster: Cluster, pusher: Arc<StatePusher>) -> Self {
        Self { cluster, pusher }
    }

    /// Changes a user's state of a conversation, and tells a channel's members that something was
    /// read, but not the user's devices. Returns the receipt that the other user may be shown as
    /// well.
    pub(in crate::backend) async fn change(
        &self,
        user: &UserId,
        conversation: &Recipient,
        change: ConversationChange,
        made: ChangeOrigin,
    ) -> Result<(ChangedConversation, Option<PeerReceipt>), ConversationError> {
        if let Some(bytes) = change.draft.as_ref().map(String::len).filter(|bytes| *bytes > MAX_DRAFT_BYTES) {
            return Err(ConversationError::DraftTooLong { bytes });
        }
        if let Recipient::Channel(channel) = conversation
            && !self.cluster.members().is_member(channel, user).await?
            && !self.is_closed(user, conversation).await?
        {
            return Err(ConversationError::NotAMember);
        }
        let (patch, entry) = self.patch(&log_of(user, conversation), change).await?;
        let patch = ConversationPatch { origin: Some(made), ..patch };
        let store = self.cluster.conversations();
        let mut outcome = store.change(user, conversation, &patch).await?;
        let mut receipt = None;
        if let Some(read) = patch.read {
            let standing = outcome.state.read;
            if standing != read && self.is_lost(&log_of(user, conversation), standing).await? {
                let patch = ConversationPatch { lost: Some(standing), ..patch };
                outcome = store.change(user, conversation, &patch).await?;
            }
            // Also after a repetition: the first attempt may have ended here.
            if outcome.state.read == read {
                receipt = self.note_read(user, conversation, read, entry, &outcome).await?;
            }
        }
        Ok((outcome, receipt))
    }

    /// Describes a change that a device made `age_ms` ago, when it knew all changes up to a
    /// version.
    pub(in crate::backend) fn made(&self, device: Option<&Device>, known: u64, age_ms: u64) -> ChangeOrigin {
        let now = now_ms(&self.cluster);
        let device = device.map(ToString::to_string).unwrap_or_default();
        ChangeOrigin { at_ms: now.saturating_sub(age_ms), known, device }
    }

    /// Returns `true` if the channel was closed while the user was a member. It stays in the user's
    /// list until the user deletes it.
    async fn is_closed(&self, user: &UserId, channel: &Recipient) -> Result<bool, ConversationError> {
        let states = self.cluster.conversations().states(user, std::slice::from_ref(channel)).await?;
        Ok(states.iter().any(|state| state.closed.is_some()))
    }

    /// Builds the patch of a change, limited to seqs that the log has. Returns the entry that was
    /// read last as well, if the log still has it.
    async fn patch(
        &self,
        log: &LogId,
        change: ConversationChange,
    ) -> Result<(ConversationPatch, Option<Entry>), LogError> {
        let ConversationChange { read, pinned, muted, draft, hidden, deleted, .. } = change;
        let mut patch = ConversationPatch {
            pinned,
            muted,
            draft,
            muted_until_ms: change.muted_until_ms,
            mentions_only: change.mentions_only,
            // Reading clears it, also if there is nothing further to read.
            marked_unread: change.marked_unread.or(read.map(|_| false)),
            ..ConversationPatch::default()
        };
        if read.is_none() && hidden.is_none_or(|seq| seq == 0) && deleted.is_none() {
            patch.hidden = hidden;
            return Ok((patch, None));
        }
        let ends = self.cluster.log().ends(std::slice::from_ref(log)).await?;
        let last = ends.first().map_or(0, |ends| ends.last);
        patch.hidden = hidden.map(|seq| seq.min(last));
        patch.deleted = deleted.map(|seq| seq.min(last)).filter(|seq| *seq > 0);
        let Some(claimed) = read.filter(|read| read.seq.min(last) > 0) else { return Ok((patch, None)) };
        let seq = claimed.seq.min(last);
        let page = self.cluster.log().read(log, seq.saturating_sub(1), ReadLimit::new(1)).await?;
        let entry = page.entries.into_iter().next().filter(|entry| entry.seq == seq);
        patch.read = match &entry {
            // A rollback took the read message away: the mark says nothing about the present entry.
            Some(entry) if claimed.seq == seq && claimed.id.is_some_and(|id| id != entry.message_id) => None,
            Some(entry) => Some(ReadMark::new(seq, Some(entry.message_id))),
            None => Some(ReadMark::new(seq, claimed.id.filter(|_| claimed.seq == seq))),
        };
        Ok((patch, entry))
    }

    /// Returns `true` if a mark is of a branch of the log that a rollback took away.
    async fn is_lost(&self, log: &LogId, mark: ReadMark) -> Result<bool, LogError> {
        let store = self.cluster.log();
        match (store.id_at(log, mark.seq).await?, mark.id) {
            (Some(found), Some(known)) => Ok(found != known),
            (Some(_), None) => Ok(false),
            (None, _) => {
                Ok(store.ends(std::slice::from_ref(log)).await?.iter().any(|ends| mark.seq > ends.last))
            }
        }
    }

    /// Notes a reader of a channel. The receipt of a conversation between two is left to the
    /// caller.
    async fn note_read(
        &self,
        user: &UserId,
        conversation: &Recipient,
        read: ReadMark,
        entry: Option<Entry>,
        outcome: &ChangedConversation,
    ) -> Result<Option<PeerReceipt>, ConversationError> {
        match conversation {
            Recipient::Channel(channel) => {
                self.note_reader(channel, user, read.seq).await?;
                if outcome.read_before != read.seq {
                    self.pusher.tell_readers(channel, user, read).await;
                }
                Ok(None)
            }
            Recipient::User(other) => Ok(PeerReceipt::of(user, other, read, entry)),
        }
    }

    async fn note_reader(
        &self,
        channel: &ChannelId,
        user: &UserId,
        seq: u64,
    ) -> Result<(), ConversationError> {
        let cluster = &self.cluster;
        cluster.conversations().note_readers(channel, std::slice::from_ref(user), seq).await?;
        // A member who was removed meanwhile may have been forgotten before.
        if !cluster.members().is_member(channel, user).await? {
            cluster.conversations().remove_readers(channel, std::slice::from_ref(user)).await?;
        }
        Ok(())
    }

    /// Shows a user how far the other one has read.
    pub(in crate::backend) async fn show_peer(
        &self,
        user: &UserId,
        receipt: PeerReceipt,
    ) -> Result<(), ConversationError> {
        let PeerReceipt { peer, read, .. } = receipt;
        let patch = ConversationPatch { peer_read: Some(read), ..ConversationPatch::default() };
        let store = self.cluster.conversations();
        match store.change(&peer, &Recipient::User(user.clone()), &patch).await {
            Ok(outcome) if outcome.changed => {
                self.pusher.tell_changes(&peer, None, vec![outcome.state]).await
            }
            Ok(_) => {}
            // The reader is not at fault.
            Err(error) if error.is_too_many() => tracing::debug!(%peer, %error, "a receipt is not kept"),
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }
}

/// How far a user has read a conversation, for the other user.
#[derive(Debug)]
pub(in crate::backend) struct PeerReceipt {
    pub(in crate::backend) peer: UserId,
    read: ReadMark,
    /// The read message is the peer's own, so the peer has chosen to write to the user.
    pub(in crate::backend) is_of_peer: bool,
}

impl PeerReceipt {
    /// Returns a receipt for a message between the two alone. Otherwise anybody could get into
    /// anybody's list.
    fn of(user: &UserId, other: &UserId, read: ReadMark, entry: Option<Entry>) -> Option<Self> {
        let message = pb::Message::decode(entry?.payload).ok()?;
        let peer = peer(user, &message).filter(|peer| peer == other)?;
        Some(Self { is_of_peer: message.from == peer.as_str(), peer, read })
    }
}

/// Returns the log of a user's conversation.
pub(super) fn log_of(user: &UserId, conversation: &Recipient) -> LogId {
    match conversation {
        Recipient::User(_) => LogId::Inbox(user.clone()),
        Recipient::Channel(channel) => LogId::Channel(channel.clone()),
    }
}
