//! The list of conversations, kept up to date by a client's events.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use im_sdk::{client as sdk, id::UserId};

use crate::{Client, ListedConversation, Recipient, RequestError};

/// The list of conversations, with last messages and unread counts. It follows the events that its client hands out;
/// `load` it when `needs_loading` says so: at first, and after something happened that it cannot know the effect of.
#[derive(Debug, uniffi::Object)]
pub struct ConversationList {
    state: Mutex<State>,
}

/// The list that is shown, and the one that is being loaded to take its place.
#[derive(Debug)]
struct State {
    shown: sdk::ConversationList,
    /// With the number of the attempt.
    loading: Option<(u64, sdk::ConversationList)>,
    attempts: u64,
}

/// The number of unread messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, uniffi::Record)]
pub struct Unread {
    /// The number.
    pub count: u64,
    /// The actual number may be higher.
    pub more: bool,
}

#[uniffi::export]
impl ConversationList {
    /// Returns whether it has to be loaded.
    pub fn needs_loading(&self) -> bool {
        self.lock().shown.needs_loading()
    }

    /// Loads all of it, page by page. Until that is done it shows what it showed before. Of several attempts at once the last
    /// one counts.
    ///
    /// # Errors
    /// [`RequestError`]: it still needs loading.
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

    /// Returns a conversation, also if it is hidden.
    pub fn get(&self, conversation: Recipient) -> Option<ListedConversation> {
        self.lock().shown.get(&conversation.parse().ok()?).map(ListedConversation::from)
    }

    /// Unread messages in all conversations that are in the list and not muted.
    pub fn unread(&self) -> Unread {
        let sdk::Unread { count, more } = self.lock().shown.unread();
        Unread { count, more }
    }
}

#[uniffi::export]
impl ConversationList {
    /// Unread messages as at a time, in milliseconds since the Unix epoch: some conversations are muted until then only.
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
    /// Returns the number of the attempt.
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

    /// Lets them have what the application is about to see.
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
