//! Marks of others, and answers to the core's own questions.

use std::time::Instant;

use super::{RETRY_INTERVAL, Requester};
use crate::{
    ConversationState,
    client::{
        ConversationPage, Event, RequestError,
        core::{Answer, Core, Reply},
    },
    id::InvalidId,
    proto::pb,
};

impl<T> Core<T> {
    /// Handles marks that another device, the backend or another user has set.
    pub(in crate::client::core) fn handle_changed(
        &mut self,
        now: Instant,
        changed: pb::ConversationsChanged,
    ) {
        let states = self.states(changed.states);
        self.tell_states(now, states);
        for receipt in changed.receipts {
            match receipt.try_into() {
                Ok(receipt) => self.events.push_back(Event::ChannelRead(receipt)),
                Err(error) => {
                    let error: InvalidId = error;
                    self.skip(&error.to_string());
                }
            }
        }
    }

    /// Separates the answers to the core's own questions from those for the application.
    pub(in crate::client::core) fn sort_answers(&mut self, now: Instant) {
        while let Some((asked, answer)) = self.requests.poll_answered() {
            match asked {
                Requester::ByApplication(ticket) => {
                    if let Ok(Reply::Conversations(page)) = &answer {
                        self.follow_conversations(page);
                    }
                    self.answers.push_back((ticket, answer));
                }
                own => self.handle_own_answer(now, own, answer),
            }
        }
    }

    fn handle_own_answer(&mut self, now: Instant, asked: Requester<T>, answer: Answer) {
        match (asked, answer) {
            (Requester::Marks, Ok(Reply::Marked(states))) => {
                self.conversations.handle_marked();
                self.tell_states(now, states);
            }
            (Requester::Marks, Err(error)) => {
                if is_final(&error) {
                    tracing::warn!(%error, "what was set in conversations was refused");
                    self.conversations.handle_marked();
                } else {
                    self.conversations.take_back(now);
                }
            }
            (Requester::Changes(since), Ok(Reply::Conversations(page))) => {
                self.handle_changes(now, since, *page)
            }
            (Requester::Changes(_), Err(error)) => {
                self.conversations.asking = false;
                if !is_final(&error) {
                    self.conversations.ask_at = Some(now + RETRY_INTERVAL);
                }
            }
            // An answer of the wrong kind counts as no answer.
            (Requester::Marks, Ok(_)) => self.conversations.handle_marked(),
            (Requester::Changes(_), Ok(_)) => self.conversations.asking = false,
            (Requester::ByApplication(_), _) => {}
        }
    }

    /// Notes that the application has a page of its list. From then on, changes are followed.
    fn follow_conversations(&mut self, page: &ConversationPage) {
        let known = self.conversations.version.unwrap_or(0);
        self.conversations.advance(known.max(page.version));
    }

    fn handle_changes(&mut self, now: Instant, since: u64, page: ConversationPage) {
        self.conversations.asking = false;
        let all = page.conversations.into_iter().chain(page.hidden);
        let mut states: Vec<ConversationState> = all.map(|listed| listed.state).collect();
        states.sort_by_key(|state| state.version);
        let last = states.last().map(|state| state.version);
        if page.version < since {
            // The store has lost changes, so known versions are void.
            self.conversations.version = Some(0);
            self.conversations.ahead.clear();
            self.conversations.ask_at = Some(now);
            return;
        }
        let known = self.conversations.version.unwrap_or(0);
        let up_to = if page.more { last.unwrap_or(since) } else { page.version };
        self.conversations.advance(known.max(up_to));
        // An empty page that announces more would lead to an endless loop.
        self.conversations.ask_at = (page.more && last.is_some()).then_some(now);
        if !states.is_empty() {
            self.events.push_back(Event::ConversationsChanged(states));
        }
    }

    fn tell_states(&mut self, now: Instant, states: Vec<ConversationState>) {
        if states.is_empty() {
            return;
        }
        let mut versions: Vec<u64> = states.iter().map(|state| state.version).collect();
        versions.sort_unstable();
        versions.into_iter().for_each(|version| self.conversations.note(now, version));
        self.events.push_back(Event::ConversationsChanged(states));
    }
}

/// Returns `true` if a retry is of no use.
fn is_final(error: &RequestError) -> bool {
    matches!(error, RequestError::Refused { retry_after: None, .. })
}
