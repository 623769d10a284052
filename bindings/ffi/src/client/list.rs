//! The list of conversations, kept up to date by a client's events.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use im_sdk::{client as sdk, id::UserId};

use crate::{Client, ListedConversation, Recipient, RequestError};

/// The list of conversations, with last messages and unread counts. It follows the events that its client returns.
/// Call `load` when `needs_loading` returns `true`: at first, and after an event with unknown effect.
#[derive(Debug, uniffi::Object)]
pub struct ConversationList {
    state: Mutex<State>,
}

/// The list that is shown, and the one that is being loaded to replace it.
#[derive(Debug)]
struct State {
    shown: sdk::ConversationList,
    /// The list that is being loaded, with the number of the attempt.
    loading: Option<(u64, sdk::ConversationList)>,
    attempts: u64,
}

/// A number of unread messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, uniffi::Record)]
pub struct Unread {
    /// The number of messages.
    pub count: u64,
    /// The actual number may be higher.
    pub more: bool,
}

#[uniffi::export]
impl ConversationList {
    /// Returns whether the list has to be loaded.
    pub fn needs_loading(&self) -> bool {
        self.lock().shown.needs_loading()
    }

    /// Loads the whole list, page by page. Until that is done, the list shows its earlier state. Of several concurrent
    /// attempts the last one counts.
    ///
    /// # Errors
    /// [`RequestError`]: the list still needs loading.
    pub async fn load(&self, client: Arc<Client>) -> Result<(), RequestError> {
        let attempt = self.lock().begin();
        let mut skip = 0;
        loop {
            let page = client.inner.conversations(skip, 0).await?;
            skip += page.count();
            let more = page.more && page.count() > 0;
            let mut state = self.lock();
            let Some((_, loading)) = state.loading.as_mut().filter(|(number, _)| *number == attempt) else {
                return Ok(());
            };
            loading.load(page);
            if !more {
                if let Some((_, loaded)) = state.loading.take() {
                    state.shown = loaded;
                }
                return Ok(());
            }
        }
    }

    /// Returns the conversations: pinned ones first, then by their last messages, newest first.
    pub fn conversations(&self) -> Vec<ListedConversation> {
        self.lock().shown.conversations().into_iter().map(ListedConversation::from).collect()
    }

    /// Returns a conversation, even if it is hidden.
    pub fn get(&self, conversation: Recipient) -> Option<ListedConversation> {
        self.lock().shown.get(&conversation.parse().ok()?).map(ListedConversation::from)
    }

    /// Counts unread messages in all listed conversations that are not muted.
    pub fn unread(&self) -> Unread {
        let sdk::Unread { count, more } = self.lock().shown.unread();
        Unread { count, more }
    }
}

#[uniffi::export]
impl ConversationList {
    /// Counts unread messages as of a time, in milliseconds since the Unix epoch, since a mute may end at a time.
    pub fn unread_at(&self, now_ms: u64) -> Unread {
        let sdk::Unread { count, more } = self.lock().shown.unread_at(now_ms);
        Unread { count, more }
    }
}

impl ConversationList {
    pub(super) fn new(user: UserId) -> Self {
        let shown = sdk::ConversationList::new(user);
        Self { state: Mutex::new(State { shown, loading: None, attempts: 0 }) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Starts an attempt and returns its number.
    fn begin(&mut self) -> u64 {
        self.attempts += 1;
        let mut loading = self.shown.clone();
        loading.begin_loading();
        self.loading = Some((self.attempts, loading));
        self.attempts
    }

    fn apply(&mut self, event: &sdk::Event) {
        self.shown.apply(event);
        if let Some((_, loading)) = &mut self.loading {
            loading.apply(event);
        }
    }
}

/// The lists of a client that are still in use.
#[derive(Debug, Default)]
pub(crate) struct Lists(Mutex<Vec<Weak<ConversationList>>>);

impl Lists {
    pub(super) fn add(&self, list: &Arc<ConversationList>) {
        let mut lists = self.lock();
        lists.retain(|list| list.strong_count() > 0);
        lists.push(Arc::downgrade(list));
    }

    /// Applies the events that the application is about to get.
    pub(crate) fn apply(&self, events: &[sdk::Event]) {
        let lists: Vec<_> = self.lock().iter().filter_map(Weak::upgrade).collect();
        for list in lists {
            let mut state = list.lock();
            events.iter().for_each(|event| state.apply(event));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Weak<ConversationList>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
