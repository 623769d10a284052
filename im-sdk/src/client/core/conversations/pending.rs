//! The application's marks until a backend has taken them. Meanwhile they are in the device's store.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use prost::Message as _;

use crate::{
    ConversationChange, Recipient,
    client::device_store::{SavedMark, SavedMarks},
    proto::{limits::MAX_MARKS, pb},
};

/// The bytes of a frame beside its marks, and of a mark beside its own.
const FRAME_OVERHEAD: usize = 32;
const MARK_OVERHEAD: usize = 4;

/// Waiting marks, in the order in which they were made, and sent marks without an answer.
#[derive(Debug, Default)]
pub(super) struct Pending {
    waiting: BTreeMap<Recipient, Vec<Mark>>,
    sent: Vec<(Recipient, Vec<Mark>)>,
    /// Conversations whose marks are to be saved.
    unsaved: BTreeSet<Recipient>,
}

/// A mark.
#[derive(Clone, Debug, PartialEq)]
struct Mark {
    change: ConversationChange,
    /// The version up to which all of the user's changes were known when the mark was set.
    known: u64,
    /// `None` if an earlier process has set it.
    set_at: Option<Instant>,
    set_at_ms: u64,
}

impl Mark {
    /// Returns the greater of two ages: the monotonic clock stands still while a phone sleeps, and the wall
    /// clock may be set.
    fn age_ms(&self, now: Instant, unix_ms: u64) -> u64 {
        let monotonic = self.set_at.map_or(0, |set_at| now.saturating_duration_since(set_at).as_millis());
        let wall = unix_ms.saturating_sub(self.set_at_ms);
        u64::try_from(monotonic).unwrap_or(u64::MAX).max(wall)
    }

    fn encode(&self, conversation: &Recipient) -> pb::Mark {
        pb::Mark { known: self.known, ..self.change.mark(conversation) }
    }
}

impl Pending {
    /// Loads the marks of an earlier process. Skips those that cannot be decoded.
    pub(super) fn load(saved: &[SavedMarks]) -> Self {
        let mut pending = Self::default();
        for saved in saved {
            let Some(conversation) = saved.conversation() else { continue };
            let marks = saved.marks.iter().filter_map(|saved| {
                let mark = pb::Mark::decode(&*saved.mark).ok()?;
                let (known, set_at_ms) = (mark.known, saved.set_at_ms);
                Some(Mark { change: mark.into(), known, set_at: None, set_at_ms })
            });
            let marks: Vec<Mark> = marks.collect();
            if !marks.is_empty() {
                pending.waiting.insert(conversation, marks);
            }
        }
        pending
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Returns the number of conversations with waiting marks.
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(super) fn contains(&self, conversation: &Recipient) -> bool {
        self.waiting.contains_key(conversation)
    }

    /// Adds a mark of the application.
    pub(super) fn set(
        &mut self,
        now: Instant,
        conversation: Recipient,
        change: ConversationChange,
        known: u64,
    ) {
        self.unsaved.insert(conversation.clone());
        let mark = Mark { change, known, set_at: Some(now), set_at_ms: unix_ms() };
        add(self.waiting.entry(conversation).or_default(), mark);
    }

    /// Returns as many marks as fit into a frame. They count as sent.
    pub(super) fn send(&mut self, now: Instant, max_frame_bytes: usize) -> Vec<pb::Mark> {
        let (mut room, now_ms) = (max_frame_bytes.saturating_sub(FRAME_OVERHEAD), unix_ms());
        let mut request = Vec::new();
        while let Some((conversation, marks)) = self.waiting.pop_first() {
            let encode = |mark: &Mark| {
                let age_ms = Some(mark.age_ms(now, now_ms));
                pb::Mark { age_ms, ..mark.encode(&conversation) }
            };
            let encoded: Vec<pb::Mark> = marks.iter().map(encode).collect();
            let bytes: usize = encoded.iter().map(|mark| mark.encoded_len() + MARK_OVERHEAD).sum();
            let fits = bytes <= room && request.len() + encoded.len() <= MAX_MARKS;
            if fits {
                room -= bytes;
                request.extend(encoded);
                self.sent.push((conversation, marks));
            } else if request.is_empty() {
                tracing::warn!(%conversation, "what was set does not fit into a frame and is dropped");
                self.unsaved.insert(conversation);
            } else {
                self.waiting.insert(conversation, marks);
                break;
            }
        }
        request
    }

    /// Settles the sent marks.
    pub(super) fn settle(&mut self) {
        self.unsaved.extend(self.sent.drain(..).map(|(conversation, _)| conversation));
    }

    /// Lets the sent marks wait again. Later marks replace them.
    pub(super) fn take_back(&mut self) {
        for (conversation, mut marks) in std::mem::take(&mut self.sent) {
            let later = self.waiting.remove(&conversation).unwrap_or_default();
            later.into_iter().for_each(|mark| add(&mut marks, mark));
            self.waiting.insert(conversation, marks);
        }
    }

    pub(super) fn has_unsaved(&self) -> bool {
        !self.unsaved.is_empty()
    }

    /// Returns the marks to save. They count as saved.
    pub(super) fn poll_save(&mut self) -> Vec<SavedMarks> {
        let save = |conversation: Recipient| {
            let sent =
                self.sent.iter().filter(|(sent, _)| *sent == conversation).flat_map(|(_, marks)| marks);
            let marks = sent.chain(self.waiting.get(&conversation).into_iter().flatten());
            let marks = marks.map(|mark| SavedMark {
                set_at_ms: mark.set_at_ms,
                mark: mark.encode(&conversation).encode_to_vec(),
            });
            SavedMarks { marks: marks.collect(), ..SavedMarks::of(&conversation) }
        };
        std::mem::take(&mut self.unsaved).into_iter().map(save).collect()
    }

    /// Notes that marks were not saved.
    pub(super) fn handle_not_saved(&mut self, marks: &[SavedMarks]) {
        self.unsaved.extend(marks.iter().filter_map(SavedMarks::conversation));
    }
}

/// Adds a later mark to earlier ones. Those that it replaces are dropped, so few remain.
fn add(marks: &mut Vec<Mark>, later: Mark) {
    for earlier in marks.iter_mut() {
        earlier.change = std::mem::take(&mut earlier.change).without(&later.change);
    }
    // Marks that never go back may be merged with any.
    let mut change = later.change;
    for earlier in marks.iter_mut() {
        let (read, deleted) = (earlier.change.read.take(), earlier.change.deleted.take());
        let earlier = ConversationChange { read, deleted, ..ConversationChange::default() };
        change = earlier.furthest(change);
    }
    marks.retain(|earlier| earlier.change != ConversationChange::default());
    marks.push(Mark { change, ..later });
}

fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
