//! Marks of conversations: the application's own on their way to the backend, and those set elsewhere.

mod answers;
mod page;
mod pending;

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use self::pending::Pending;
use super::{Core, Phase};
use crate::{
    ConversationChange, MAX_DRAFT_BYTES, Recipient,
    client::{
        MAX_CONVERSATION_MARKS, MarkError,
        device_store::{SavedMarks, SavedState},
    },
    proto::pb,
};

/// The origin of a request, to which its answer goes.
#[derive(Debug)]
pub(in crate::client) enum Requester<T> {
    ByApplication(T),
    /// The core, with marks.
    Marks,
    /// The core, for changes after this version.
    Changes(u64),
}

/// Waiting marks, and the known versions of the user's changes.
#[derive(Debug, Default)]
pub(super) struct Conversations {
    marks: Pending,
    /// Set while sent marks are not answered.
    marking: bool,
    /// The time at which the next marks may be sent.
    next_marks: Option<Instant>,
    /// The version up to which all changes are known. `None` until the application has requested its
    /// conversations.
    version: Option<u64>,
    /// The versions of known changes beyond a gap.
    ahead: BTreeSet<u64>,
    /// Set while a request for changes is not answered.
    asking: bool,
    /// The time of the next request for changes.
    ask_at: Option<Instant>,
}

impl Conversations {
    pub(super) fn load(saved: &SavedState) -> Self {
        Self { marks: Pending::load(&saved.marks), ..Self::default() }
    }

    /// Sends the marks that an earlier process or connection has left.
    pub(super) fn handle_connected(&mut self, now: Instant) {
        if !self.marks.is_empty() {
            self.next_marks.get_or_insert(now);
        }
    }

    pub(super) fn has_unsaved(&self) -> bool {
        self.marks.has_unsaved()
    }

    pub(super) fn poll_save(&mut self) -> Vec<SavedMarks> {
        self.marks.poll_save()
    }

    pub(super) fn handle_not_saved(&mut self, marks: &[SavedMarks]) {
        self.marks.handle_not_saved(marks);
    }

    pub(super) fn has_marks(&self) -> bool {
        self.marking || !self.marks.is_empty()
    }

    pub(super) fn flush(&mut self, now: Instant) {
        self.next_marks = Some(now);
    }

    /// Handles the end of the first sync: requests changes that were missed.
    pub(super) fn handle_synced(&mut self, now: Instant) {
        if self.version.is_some() {
            self.ask_at = Some(now);
        }
    }

    /// Handles a hint. After a rollback no version can be trusted.
    pub(super) fn handle_hint(&mut self, rolled_back: bool) {
        if rolled_back && self.version.is_some() {
            self.version = Some(0);
            self.ahead.clear();
        }
    }

    pub(super) fn handle_connection_lost(&mut self) {
        // The request follows once the next connection has synced its logs.
        self.ask_at = None;
    }

    fn take(
        &mut self,
        now: Instant,
        conversation: Recipient,
        change: ConversationChange,
    ) -> Result<(), MarkError> {
        if let Some(bytes) = change.draft.as_ref().map(String::len).filter(|bytes| *bytes > MAX_DRAFT_BYTES) {
            return Err(MarkError::DraftTooLong { bytes });
        }
        if self.marks.len() >= MAX_CONVERSATION_MARKS && !self.marks.contains(&conversation) {
            return Err(MarkError::QueueFull);
        }
        self.marks.set(now, conversation, change, self.version.unwrap_or(0));
        self.next_marks.get_or_insert(now);
        Ok(())
    }

    /// Settles the sent marks.
    fn handle_marked(&mut self) {
        self.marking = false;
        self.marks.settle();
    }

    /// Takes back the sent marks, which have no answer, to send them again.
    fn take_back(&mut self, now: Instant) {
        self.marking = false;
        self.marks.take_back();
        self.next_marks = Some(now + RETRY_INTERVAL);
    }

    /// Notes a change.
    fn note(&mut self, now: Instant, version: u64) {
        let Some(known) = self.version.filter(|known| version > *known) else { return };
        if version > known + 1 {
            self.ahead.insert(version);
            // The missing change may only be late, on another path.
            self.ask_at.get_or_insert(now + GAP);
            if self.ahead.len() > MAX_AHEAD {
                self.ahead.pop_last();
            }
            return;
        }
        self.advance(version);
        if self.ahead.is_empty() {
            self.ask_at = None;
        }
    }

    /// Notes that all changes up to a version are known.
    fn advance(&mut self, version: u64) {
        let mut known = version;
        while let Some(next) = self.ahead.first().copied().filter(|next| *next <= known.saturating_add(1)) {
            self.ahead.pop_first();
            known = known.max(next);
        }
        self.version = Some(known);
    }
}

impl<T> Core<T> {
    /// Asks for the application. [`Core::poll_answered`] returns the answer.
    pub(in crate::client) fn handle_ask(&mut self, now: Instant, ticket: T, question: pb::request::Question) {
        self.ask(now, ticket, question);
    }

    /// Handles a mark that the application sets.
    pub(in crate::client) fn handle_mark(
        &mut self,
        now: Instant,
        conversation: Recipient,
        change: ConversationChange,
    ) -> Result<(), MarkError> {
        if self.closing.is_some() {
            return Err(MarkError::Closed);
        }
        self.conversations.take(now, conversation, change)
    }

    /// Returns the time of the next request.
    pub(super) fn conversations_at(&self) -> Option<Instant> {
        if !matches!(self.phase, Phase::Connected(_)) {
            return None;
        }
        let parts = &self.conversations;
        let marks = parts.next_marks.filter(|_| !parts.marking && !parts.marks.is_empty());
        [marks, parts.ask_at.filter(|_| !parts.asking)].into_iter().flatten().min()
    }

    /// Makes the requests that are due.
    pub(super) fn ask_for_conversations(&mut self, now: Instant) {
        if self.conversations_at().is_none_or(|at| at > now) {
            return;
        }
        let parts = &mut self.conversations;
        if !parts.marking && parts.next_marks.is_some_and(|at| at <= now) && !parts.marks.is_empty() {
            parts.next_marks = Some(now + MARK_INTERVAL);
            let marks = parts.marks.send(now, self.limits.max_frame_bytes);
            if !marks.is_empty() {
                parts.marking = true;
                let question = pb::request::Question::Mark(pb::MarkRequest { marks });
                self.requests.ask_anyway(now, Requester::Marks, question);
            }
        }
        let parts = &mut self.conversations;
        if let Some(since) =
            parts.version.filter(|_| !parts.asking && parts.ask_at.is_some_and(|at| at <= now))
        {
            parts.asking = true;
            parts.ask_at = None;
            let request = pb::ConversationsRequest { since: Some(since), limit: 0, skip: 0 };
            self.requests.ask_anyway(
                now,
                Requester::Changes(since),
                pb::request::Question::Conversations(request),
            );
        }
    }
}

/// The shortest interval between requests with marks: a user who scrolls makes many.
const MARK_INTERVAL: Duration = Duration::from_millis(200);

/// The delay after a failed attempt.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// The time that a change may be late before the missing ones are requested.
const GAP: Duration = Duration::from_millis(300);

/// The most remembered changes beyond a gap. Others are requested.
const MAX_AHEAD: usize = 64;
