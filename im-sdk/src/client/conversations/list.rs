//! The list of conversations, kept up to date from events alone.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap, VecDeque},
    time::{SystemTime, UNIX_EPOCH},
};

use super::{ConversationPage, ListedConversation, item::Item};
use crate::{
    ConversationState, Recipient,
    client::{Event, Log, ReceivedMessage, ResetReason},
    content::Change,
    conversation::message::{alters, stands_alone},
    id::{ChannelId, UserId},
    timeline::Timeline,
};

/// The number of remembered entries, for a page that was made before they came.
const MAX_RECENT: usize = 1024;

/// The list of conversations, with last messages and unread counts. It is loaded from
/// [pages](crate::client::Client::conversations), and kept up to date by events without further requests. It does no I/O.
///
/// Apply all events from the beginning, with or without a page. Load all pages when [`ConversationList::needs_loading`]
/// returns `true`: at first, and after an event of unknown effect, such as a [reset](Event::Reset).
///
/// ```no_run
/// # use im_sdk::client::{Client, ConversationList, RequestError};
/// # async fn example(client: &Client, list: &mut ConversationList) -> Result<(), RequestError> {
/// for event in client.next_events(100).await {
///     list.apply(&event);
/// }
/// if list.needs_loading() {
///     client.load(list).await?;
/// }
/// println!("{} unread", list.unread().count);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[doc(alias("badge", "unread", "chat list"))]
pub struct ConversationList {
    pub(super) user: UserId,
    pub(super) items: BTreeMap<Recipient, Item>,
    pub(super) recent: VecDeque<Recent>,
    /// Changes of messages, known ones or not. Changes that are counted are not in it.
    pub(super) changes: Timeline,
    /// The end of the inbox, as known from pages and entries.
    pub(super) inbox_end: u64,
    pub(super) stale: bool,
    /// Set once the last page has come.
    loaded: bool,
}

/// The number of unread messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unread {
    /// The number.
    pub count: u64,
    /// There may be more.
    pub more: bool,
}

#[derive(Clone, Debug)]
pub(super) struct Recent {
    pub(super) log: Log,
    pub(super) seq: u64,
    /// `None` if the message belongs to no conversation.
    pub(super) conversation: Option<Recipient>,
    pub(super) message: ReceivedMessage,
}

impl ConversationList {
    /// Creates an empty list for a user, to be loaded.
    pub fn new(user: UserId) -> Self {
        let changes = Timeline::with_limit(user.clone(), MAX_RECENT);
        Self {
            user,
            items: BTreeMap::new(),
            recent: VecDeque::new(),
            changes,
            inbox_end: 0,
            stale: true,
            loaded: false,
        }
    }

    /// Returns `true` if pages have to be loaded: until the last one has come, and when events are not enough any
    /// more.
    pub fn needs_loading(&self) -> bool {
        self.stale || !self.loaded
    }

    /// Prepares for the first page: forgets the known conversations.
    pub fn begin_loading(&mut self) {
        self.items.clear();
        self.inbox_end = 0;
        (self.stale, self.loaded) = (false, false);
    }

    /// Takes a page.
    pub fn load(&mut self, page: ConversationPage) {
        self.inbox_end = self.inbox_end.max(page.inbox_end);
        let all: Vec<ListedConversation> = page.conversations.into_iter().chain(page.hidden).collect();
        let ends: HashMap<Recipient, u64> =
            all.iter().map(|listed| (listed.state.conversation.clone(), listed.end)).collect();
        for listed in all {
            let name = listed.state.conversation.clone();
            let known = self.items.insert(name.clone(), Item::from(listed));
            // The state may have changed since the page was made.
            if let Some(known) = known {
                self.set(known.state);
            }
        }
        for (name, end) in &ends {
            self.catch_up(name, *end);
        }
        self.catch_up_with_changes(&ends, page.inbox_end);
        if !page.more {
            self.loaded = true;
            // Conversations that began since the page was made.
            self.catch_up_with_new();
        }
    }

    /// Applies an event. Returns `true` if something in the list may look different.
    pub fn apply(&mut self, event: &Event) -> bool {
        match event {
            Event::Message(message) => self.take(message),
            Event::ConversationsChanged(states) => {
                states.iter().for_each(|state| self.set(state.clone()));
                true
            }
            Event::Reset { position, reason } => {
                self.recent.retain(|recent| recent.log != position.log);
                match (&position.log, reason) {
                    (Log::Channel(channel), ResetReason::Left) => {
                        let name = Recipient::Channel(channel.clone());
                        // A closed channel stays until the user deletes it.
                        let is_kept = self.items.get(&name).is_some_and(|item| item.state.closed.is_some());
                        !is_kept && self.items.remove(&name).is_some()
                    }
                    _ => {
                        // After the reset, known changes may be lost together with their messages.
                        self.changes = Timeline::with_limit(self.user.clone(), MAX_RECENT);
                        self.stale = true;
                        false
                    }
                }
            }
            _ => false,
        }
    }

    /// Returns the conversations: pinned ones first, then by their last messages, newest first.
    pub fn conversations(&self) -> Vec<ListedConversation> {
        let mut listed: Vec<&Item> = self.items.values().filter(|item| item.is_listed()).collect();
        listed.sort_by_cached_key(|item| {
            (Reverse(item.state.pinned), Reverse(item.sent()), item.state.conversation.clone())
        });
        listed.into_iter().map(Item::show).collect()
    }

    /// Returns a conversation, also if it is hidden.
    pub fn get(&self, conversation: &Recipient) -> Option<ListedConversation> {
        self.items.get(conversation).map(Item::show)
    }

    /// Counts the unread messages in all listed conversations that are not muted now, by this device's clock. With
    /// [`mentions_only`](ConversationState::mentions_only), only the messages that mention the user count.
    #[doc(alias = "badge")]
    pub fn unread(&self) -> Unread {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.unread_at(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }

    /// Counts unread messages as of another time, in milliseconds since the Unix epoch.
    pub fn unread_at(&self, unix_ms: u64) -> Unread {
        let heard = self.items.values().filter(|item| item.is_listed() && !item.state.is_muted_at(unix_ms));
        heard.fold(Unread::default(), |sum, item| Unread {
            count: sum.count + if item.state.mentions_only { item.mentioned() } else { item.count() } as u64,
            more: sum.more || item.more(),
        })
    }

    fn take(&mut self, message: &ReceivedMessage) -> bool {
        let Some(position) = &message.position else { return false };
        let conversation = self.conversation(message);
        if self.recent.len() >= MAX_RECENT {
            self.recent.pop_front();
        }
        let recent = Recent {
            log: position.log.clone(),
            seq: position.seq,
            conversation: conversation.clone(),
            message: message.clone(),
        };
        self.recent.push_back(recent);
        if let Some(name) = &conversation {
            let before = self.inbox_end;
            self.add(name, position.seq, message, before);
        }
        let is_change = self.take_change(&position.log, conversation.as_ref(), message, |_| true);
        if position.log == Log::Inbox {
            self.inbox_end = self.inbox_end.max(position.seq);
        }
        conversation.is_some() || is_change
    }

    /// Applies a change of a message, if it matters here, to the possible conversations of the message that do not
    /// have it yet.
    pub(super) fn take_change(
        &mut self,
        log: &Log,
        named: Option<&Recipient>,
        message: &ReceivedMessage,
        is_new_to: impl Fn(&Recipient) -> bool,
    ) -> bool {
        let Some(change) = message.content.as_change().filter(|change| alters(change)) else { return false };
        self.changes.apply(message);
        let Some(done) = self.changes.done_to(change.message_id) else {
            // The change was dropped: too many changes of later messages are kept.
            self.stale = true;
            return false;
        };
        let may_be_in = |name: &Recipient, item: &Item| match channel_of(log, change) {
            Some(channel) => name.as_channel() == Some(channel),
            // If the change names no conversation, the message may be one with an unknown id.
            None if name.as_channel().is_some() => false,
            None => named.is_none_or(|named| named == name) || item.has(change.message_id),
        };
        let items = self.items.iter_mut().filter(|(name, item)| may_be_in(name, item) && is_new_to(name));
        for (_, item) in items {
            self.stale |= !item.change(&self.user, change.message_id, done);
        }
        true
    }

    /// Adds an entry to a conversation. `known_to` is the seq up to which the inbox is known for users
    /// without an item.
    pub(super) fn add(&mut self, name: &Recipient, seq: u64, message: &ReceivedMessage, known_to: u64) {
        let is_news = stands_alone(&message.content) && (name.as_user().is_none() || seq > known_to);
        if !is_news && !self.items.contains_key(name) {
            return;
        }
        let new = || Item::new(ConversationState::new(name.clone()));
        let item = self.items.entry(name.clone()).or_insert_with(new);
        item.add(&self.user, seq, message, self.changes.done_to(message.id));
    }

    fn conversation(&self, message: &ReceivedMessage) -> Option<Recipient> {
        if let Some(channel) = &message.channel {
            return Some(channel.clone().into());
        }
        let is_own = message.from.as_ref() == Some(&self.user);
        let peer = if is_own { &message.to } else { &message.from };
        peer.clone().map(Recipient::User)
    }

    fn set(&mut self, state: ConversationState) {
        match self.items.get_mut(&state.conversation) {
            Some(item) => self.stale |= !item.set(state),
            // An empty state makes no conversation.
            None if state.version == 0 => {}
            // A channel enters the list when the device follows it.
            None if state.conversation.as_channel().is_some() => self.stale = true,
            None => _ = self.items.insert(state.conversation.clone(), Item::new(state)),
        }
    }
}

/// Returns the channel of a changed message, by the log of the change. `None` if the message is in the inbox.
fn channel_of<'a>(log: &'a Log, change: &'a Change) -> Option<&'a ChannelId> {
    log.channel().or(change.channel.as_ref())
}
