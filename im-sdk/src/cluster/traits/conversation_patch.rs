//! Changes to the state of a conversation, and its stored form: the same in every store.

use std::collections::BTreeMap;

use bytes::Bytes;
use prost::Message as _;

use crate::{ConversationState, ReadMark, proto::pb};

/// A change to the state of a conversation. A field of `None` is unchanged.
///
/// Marks only move forward; of the other fields the newest setting wins, see
/// [`ConversationPatch::origin`]. So a change may be repeated, and may arrive late.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConversationPatch {
    /// The mark up to which the user has read, if that is further.
    pub read: Option<ReadMark>,
    /// The current mark, if its place was lost because the log was rolled back: `read` then applies
    /// although it is not further.
    pub lost: Option<ReadMark>,
    /// The mark up to which the other user has read, by that user's own inbox, if that is further.
    pub peer_read: Option<ReadMark>,
    /// Whether the conversation is listed before those that are not pinned.
    pub pinned: Option<bool>,
    /// Whether the conversation is excluded from counts.
    pub muted: Option<bool>,
    /// The text that was typed and not sent.
    pub draft: Option<String>,
    /// The seq up to which the conversation is hidden from the list.
    pub hidden: Option<u64>,
    /// The seq up to which messages are deleted for the user, if that is further.
    pub deleted: Option<u64>,
    /// The seq up to which messages are not shown because they were sent before the user joined, if
    /// that is further.
    pub joined: Option<u64>,
    /// The entry behind which the conversation is closed, or `Some(None)` to open it again.
    pub closed: Option<Option<u64>>,
    /// Whether the user marked the conversation as unread. Any value of `read` clears it.
    pub marked_unread: Option<bool>,
    /// The end of a mute, in milliseconds since the Unix epoch; 0 for none.
    pub muted_until_ms: Option<u64>,
    /// Whether only mentions count.
    pub mentions_only: Option<bool>,
    /// The time and the origin of the settings among these fields (`pinned`, `muted`, `draft`, `hidden`,
    /// `marked_unread`, `mentions_only`) were made. A setting older than the stored one is ignored.
    /// With `None`, all settings apply.
    pub origin: Option<ChangeOrigin>,
}

/// The time and the origin of a user's change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChangeOrigin {
    /// The cluster's time, in milliseconds since the Unix epoch.
    pub at_ms: u64,
    /// The user's version up to which the device knew all changes.
    pub known: u64,
    /// The device; empty for a backend.
    pub device: String,
}

/// The stored form of a state.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::cluster) struct Stored {
    pub(in crate::cluster) state: ConversationState,
    peer_seq: u64,
    /// The stamp of each setting.
    stamps: BTreeMap<Setting, Stamp>,
}

/// A field that a user may set repeatedly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Setting {
    Pinned = 1,
    Muted = 2,
    Draft = 3,
    Hidden = 4,
    MarkedUnread = 5,
    MentionsOnly = 6,
}

impl Setting {
    fn of(number: u32) -> Option<Self> {
        const ALL: [Setting; 6] = [
            Setting::Pinned,
            Setting::Muted,
            Setting::Draft,
            Setting::Hidden,
            Setting::MarkedUnread,
            Setting::MentionsOnly,
        ];
        ALL.into_iter().find(|setting| *setting as u32 == number)
    }
}

/// The time by which a later setting may seem older than an earlier one of the same device: longer
/// than a request takes. A setting that is older still comes from a device restored from a backup.
const SAME_DEVICE_TOLERANCE_MS: u64 = 60_000;

/// The time and the origin of a setting.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Stamp {
    /// The version of the change; 0 for the version of the state, which was not known when the
    /// stamp was written.
    version: u64,
    at_ms: u64,
    device: String,
}

impl Stamp {
    /// Returns whether another setting may replace this one: its origin knew this setting, or it is
    /// not older. The settings of one device arrive in order, and may seem older by the delay of
    /// the network.
    fn gives_way_to(&self, made: &ChangeOrigin) -> bool {
        let is_same_device = !self.device.is_empty() && self.device == made.device;
        let tolerance = if is_same_device { SAME_DEVICE_TOLERANCE_MS } else { 0 };
        made.known >= self.version || made.at_ms.saturating_add(tolerance) >= self.at_ms
    }
}

impl Stored {
    pub(in crate::cluster) fn new(state: ConversationState) -> Self {
        Self { state, peer_seq: 0, stamps: BTreeMap::new() }
    }

    /// Applies a change. Returns whether it made a difference. The store sets the version.
    pub(in crate::cluster) fn apply(&mut self, patch: &ConversationPatch) -> bool {
        let before = self.clone();
        let state = &mut self.state;
        let is_lost = patch.lost.is_some_and(|lost| lost == state.read);
        if let Some(read) = patch.read.filter(|read| read.seq > state.read.seq || is_lost) {
            state.read = read;
        }
        if let Some(read) = patch.peer_read.filter(|read| read.seq > self.peer_seq) {
            (self.peer_seq, state.peer_read) = (read.seq, read.id);
        }
        state.deleted = state.deleted.max(patch.deleted.unwrap_or_default());
        state.joined = state.joined.max(patch.joined.unwrap_or_default());
        state.closed = patch.closed.unwrap_or(state.closed);
        self.apply_settings(patch);
        *self != before
    }

    fn apply_settings(&mut self, patch: &ConversationPatch) {
        // A user who has read something has come back to it.
        let marked_unread = patch.marked_unread.or(patch.read.map(|_| false));
        let made = patch.origin.as_ref();
        if let Some(pinned) = patch.pinned {
            self.set(Setting::Pinned, made, |state| &mut state.pinned, pinned);
        }
        if let Some(muted) = patch.muted {
            let until = patch.muted_until_ms.filter(|until| muted && *until > 0);
            let both = |state: &ConversationState| (state.muted, state.muted_until_ms);
            if both(&self.state) != (muted, until) && self.may_set(Setting::Muted, made) {
                (self.state.muted, self.state.muted_until_ms) = (muted, until);
                self.stamp(Setting::Muted, made);
            }
        }
        if let Some(draft) = &patch.draft {
            self.set(Setting::Draft, made, |state| &mut state.draft, draft.clone());
        }
        if let Some(hidden) = patch.hidden {
            self.set(Setting::Hidden, made, |state| &mut state.hidden, hidden);
        }
        if let Some(marked_unread) = marked_unread {
            self.set(Setting::MarkedUnread, made, |state| &mut state.marked_unread, marked_unread);
        }
        if let Some(mentions_only) = patch.mentions_only {
            self.set(Setting::MentionsOnly, made, |state| &mut state.mentions_only, mentions_only);
        }
    }

    fn set<T: PartialEq>(
        &mut self,
        setting: Setting,
        made: Option<&ChangeOrigin>,
        place: impl Fn(&mut ConversationState) -> &mut T,
        value: T,
    ) {
        if *place(&mut self.state) != value && self.may_set(setting, made) {
            *place(&mut self.state) = value;
            self.stamp(setting, made);
        }
    }

    fn may_set(&self, setting: Setting, made: Option<&ChangeOrigin>) -> bool {
        match (self.stamps.get(&setting), made) {
            (Some(stamp), Some(made)) => stamp.gives_way_to(made),
            _ => true,
        }
    }

    fn stamp(&mut self, setting: Setting, made: Option<&ChangeOrigin>) {
        let ChangeOrigin { at_ms, device, .. } = made.cloned().unwrap_or_default();
        self.stamps.insert(setting, Stamp { version: 0, at_ms, device });
    }

    /// Sets the version that the change was given.
    pub(in crate::cluster) fn set_version(&mut self, version: u64) {
        self.state.version = version;
        self.stamps.values_mut().filter(|stamp| stamp.version == 0).for_each(|stamp| stamp.version = version);
    }

    /// Encodes the state. The first byte tells whether it is pinned; nothing reads that any more.
    pub(in crate::cluster) fn encode(&self) -> Vec<u8> {
        let state = pb::ConversationState { version: 0, ..self.state.clone().into() };
        let stamps = self.stamps.iter().map(|(setting, stamp)| pb::SettingStamp {
            setting: *setting as u32,
            // Stamps of this change get their version only now.
            version: stamp.version,
            at_ms: stamp.at_ms,
            device: stamp.device.clone(),
        });
        let stored =
            pb::StoredConversation { state: Some(state), peer_seq: self.peer_seq, stamps: stamps.collect() };
        let mut bytes = vec![if self.state.pinned { PINNED } else { NOT_PINNED }];
        bytes.extend(stored.encode_to_vec());
        bytes
    }

    /// Decodes a state, or returns `None` if [`Stored::encode`] did not write it.
    pub(in crate::cluster) fn decode(bytes: &[u8], version: u64) -> Option<Self> {
        let stored = pb::StoredConversation::decode(Bytes::copy_from_slice(bytes.get(1..)?)).ok()?;
        let state = ConversationState::try_from(stored.state?).ok()?;
        let stamps = stored.stamps.into_iter().filter_map(|stamp| {
            let pb::SettingStamp { setting, version, at_ms, device } = stamp;
            Some((Setting::of(setting)?, Stamp { version, at_ms, device }))
        });
        let mut stored = Self { state, peer_seq: stored.peer_seq, stamps: stamps.collect() };
        stored.set_version(version);
        Some(stored)
    }
}

const PINNED: u8 = b'1';
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
        stored.set_version(12);
        assert_eq!(Stored::decode(&stored.encode(), 12), Some(stored));
        for wrong in [&b""[..], b"1", b"1nonsense", b"0\n\x00"] {
            assert_eq!(Stored::decode(wrong, 1), None, "{wrong:?}");
        }
    }
}
