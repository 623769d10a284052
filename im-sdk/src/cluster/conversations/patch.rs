//! How states change, and how they are kept: the same in every store.

use std::collections::BTreeMap;

use bytes::Bytes;
use prost::Message as _;

use crate::{ConversationState, ReadMark, proto::pb};

/// What to change. What is `None` stays as it is. The fields that are marks go forward alone; of the others the newest
/// setting counts, see [`ConversationPatch::made`]. So a change may be repeated, and come late.
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
    /// Not shown up to here, because it was there before the user joined; if that is further.
    pub joined: Option<u64>,
    /// Closed behind this entry, or open again.
    pub closed: Option<Option<u64>>,
    /// To come back to. Whatever is said of `read` takes it back.
    pub marked_unread: Option<bool>,
    /// Where it is muted: until then, in milliseconds since the Unix epoch; 0: without an end.
    pub muted_until_ms: Option<u64>,
    /// Only mentions count.
    pub mentions_only: Option<bool>,
    /// When the settings among these (`pinned`, `muted`, `draft`, `hidden`, `marked_unread`, `mentions_only`) were made. One
    /// that is older than what stands there is left out. `None`: all count.
    pub made: Option<Made>,
}

/// When a user made a setting, and where.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Made {
    /// By the cluster's clock, in milliseconds since the Unix epoch.
    pub at_ms: u64,
    /// All of the user's changes up to this version were known there.
    pub known: u64,
    /// The device; empty: a back end.
    pub device: String,
}

/// A state as it is kept.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Stored {
    pub(super) state: ConversationState,
    peer_seq: u64,
    /// When each setting was made that stands there.
    stamps: BTreeMap<Setting, Stamp>,
}

/// What a user sets, and may set anew.
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

/// By how much a later setting of the same device may seem older than an earlier one: longer than a request is under way.
/// What is older still comes from a device that was set back to a backup.
const SAME_DEVICE_TOLERANCE_MS: u64 = 60_000;

/// When a setting was made.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Stamp {
    /// The version that it got; 0: that of the state, which was not known when it was written.
    version: u64,
    at_ms: u64,
    device: String,
}

impl Stamp {
    /// Whether something may take its place: it was made by who knew of this, or it is not older. What one device says comes
    /// in its order, and may seem older by what the network took.
    fn gives_way_to(&self, made: &Made) -> bool {
        let is_same_device = !self.device.is_empty() && self.device == made.device;
        let tolerance = if is_same_device { SAME_DEVICE_TOLERANCE_MS } else { 0 };
        made.known >= self.version || made.at_ms.saturating_add(tolerance) >= self.at_ms
    }
}

impl Stored {
    pub(super) fn new(state: ConversationState) -> Self {
        Self { state, peer_seq: 0, stamps: BTreeMap::new() }
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
        state.deleted = state.deleted.max(patch.deleted.unwrap_or_default());
        state.joined = state.joined.max(patch.joined.unwrap_or_default());
        state.closed = patch.closed.unwrap_or(state.closed);
        self.apply_settings(patch);
        *self != before
    }

    fn apply_settings(&mut self, patch: &ConversationPatch) {
        // Whoever has read something has come back to it.
        let marked_unread = patch.marked_unread.or(patch.read.map(|_| false));
        let made = patch.made.as_ref();
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
        made: Option<&Made>,
        place: impl Fn(&mut ConversationState) -> &mut T,
        value: T,
    ) {
        if *place(&mut self.state) != value && self.may_set(setting, made) {
            *place(&mut self.state) = value;
            self.stamp(setting, made);
        }
    }

    fn may_set(&self, setting: Setting, made: Option<&Made>) -> bool {
        match (self.stamps.get(&setting), made) {
            (Some(stamp), Some(made)) => stamp.gives_way_to(made),
            _ => true,
        }
    }

    fn stamp(&mut self, setting: Setting, made: Option<&Made>) {
        let Made { at_ms, device, .. } = made.cloned().unwrap_or_default();
        self.stamps.insert(setting, Stamp { version: 0, at_ms, device });
    }

    /// The version that it has got.
    pub(super) fn set_version(&mut self, version: u64) {
        self.state.version = version;
        self.stamps.values_mut().filter(|stamp| stamp.version == 0).for_each(|stamp| stamp.version = version);
    }

    /// The first byte says whether it is pinned. Nothing reads that any more.
    pub(super) fn encode(&self) -> Vec<u8> {
        let state = pb::ConversationState { version: 0, ..self.state.clone().into() };
        let stamps = self.stamps.iter().map(|(setting, stamp)| pb::SettingStamp {
            setting: *setting as u32,
            // What this change has made gets its version only now.
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

    /// `None`: this is not what [`Stored::encode`] writes.
    pub(super) fn decode(bytes: &[u8], version: u64) -> Option<Self> {
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
