//! How states change, and how they are kept: the same in every store.

use bytes::Bytes;
use prost::Message as _;

use crate::{ConversationState, ReadMark, proto::pb};

/// What to change. What is `None` stays as it is. The fields that are marks go forward alone; of the others the last
/// change counts. So a change may be repeated, and come late.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConversationPatch {
    /// Read up to here, if that is further.
    pub read: Option<ReadMark>,
    /// If this is what was read up to now, then `read` counts although it is not further: the log was rolled back, and
    /// this place is lost.
    pub lost: Option<ReadMark>,
    /// How far the other user has read, by that user's own inbox; if that is further.
    pub peer_read: Option<ReadMark>,
    /// Before all that are not.
    pub pinned: Option<bool>,
    /// Not counted.
    pub muted: Option<bool>,
    /// What was typed.
    pub draft: Option<String>,
    /// Not in the list up to here.
    pub hidden: Option<u64>,
    /// Not shown up to here, if that is further.
    pub deleted: Option<u64>,
}

/// A state as it is kept.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Stored {
    pub(super) state: ConversationState,
    peer_seq: u64,
}

impl Stored {
    pub(super) fn new(state: ConversationState) -> Self {
        Self { state, peer_seq: 0 }
    }

    /// Whether it made a difference. The version is for the store to set.
    pub(super) fn apply(&mut self, patch: &ConversationPatch) -> bool {
        let before = self.clone();
        let state = &mut self.state;
        let is_lost = patch.lost.is_some_and(|lost| lost == state.read);
        if let Some(read) = patch.read.filter(|read| read.seq > state.read.seq || is_lost) {
            state.read = read;
        }
        if let Some(read) = patch.peer_read.filter(|read| read.seq > self.peer_seq) {
            (self.peer_seq, state.peer_read) = (read.seq, read.id);
        }
        state.pinned = patch.pinned.unwrap_or(state.pinned);
        state.muted = patch.muted.unwrap_or(state.muted);
        if let Some(draft) = &patch.draft {
            state.draft.clone_from(draft);
        }
        state.hidden = patch.hidden.unwrap_or(state.hidden);
        state.deleted = state.deleted.max(patch.deleted.unwrap_or_default());
        *self != before
    }

    /// The first byte says whether it is pinned, so that a script can see that.
    pub(super) fn encode(&self) -> Vec<u8> {
        let state = pb::ConversationState { version: 0, ..self.state.clone().into() };
        let stored = pb::StoredConversation { state: Some(state), peer_seq: self.peer_seq };
        let mut bytes = vec![if self.state.pinned { PINNED } else { NOT_PINNED }];
        bytes.extend(stored.encode_to_vec());
        bytes
    }

    /// `None`: this is not what [`Stored::encode`] writes.
    pub(super) fn decode(bytes: &[u8], version: u64) -> Option<Self> {
        let stored = pb::StoredConversation::decode(Bytes::copy_from_slice(bytes.get(1..)?)).ok()?;
        let mut state = ConversationState::try_from(stored.state?).ok()?;
        state.version = version;
        Some(Self { state, peer_seq: stored.peer_seq })
    }
}

pub(super) const PINNED: u8 = b'1';
const NOT_PINNED: u8 = b'0';

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{MessageId, UserId};

    #[test]
    fn what_was_kept_is_read() {
        let mut stored = Stored::new(ConversationState::new(UserId::parse("bob").unwrap()));
        let mark = ReadMark::new(7, MessageId::from_u64(9));
        let patch = ConversationPatch {
            read: Some(mark),
            peer_read: Some(mark),
            pinned: Some(true),
            draft: Some("so far".into()),
            ..Default::default()
        };
        assert!(stored.apply(&patch));
        assert!(!stored.apply(&patch), "no difference");
        stored.state.version = 12;
        assert_eq!(Stored::decode(&stored.encode(), 12), Some(stored));
        for wrong in [&b""[..], b"1", b"1nonsense", b"0\n\x00"] {
            assert_eq!(Stored::decode(wrong, 1), None, "{wrong:?}");
        }
    }
}
