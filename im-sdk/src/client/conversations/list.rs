//! The list of conversations, kept up to date from events alone.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, VecDeque},
};

use super::{ConversationPage, ListedConversation};
use crate::{
    ConversationState, Recipient,
    client::{Event, Log, ReceivedMessage, ResetReason},
    conversation::{counts, mentions, stands_alone},
    id::UserId,
};

/// Unread messages of one conversation are counted up to here, as back ends do.
const MAX_UNREAD: usize = 999;

/// Mentions are looked for among so many of the newest unread messages, as back ends do.
const LISTED: usize = 100;

/// How many entries are remembered, for a page that was made before they came.
const MAX_RECENT: usize = 1024;

/// The list of conversations, with last messages and unread counts: made from [pages](crate::client::Client::conversations),
/// and kept up to date by events without asking again. It does no I/O.
///
/// Feed it with all events from the beginning, whether there is a page yet or not. Load all pages when
/// [`ConversationList::needs_loading`] says so: at first, and after something happened that it cannot know the effect of,
/// such as a [reset](Event::Reset).
///
/// ```no_run
/// # use im_sdk::client::{Client, ConversationList, RequestError};
/// # async fn example(client: &Client, list: &mut ConversationList) -> Result<(), RequestError> {
/// for event in client.next_events(100).await {
///     list.apply(&event);
/// }
/// if list.needs_loading() {
///     list.begin_loading();
///     let mut skip = 0;
///     loop {
///         let page = client.conversations(skip, 0).await?;
///         skip += page.count();
///         let more = page.more;
///         list.load(page);
///         if !more {
///             break;
///         }
///     }
/// }
/// println!("{} unread", list.unread().count);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct ConversationList {
    user: UserId,
    items: BTreeMap<Recipient, Item>,
    recent: VecDeque<Recent>,
    /// The end of the inbox, as far as pages and entries tell.
    inbox_end: u64,
    stale: bool,
}

/// How many messages are unread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unread {
    /// How many.
    pub count: u64,
    /// There may be more.
    pub more: bool,
}

#[derive(Clone, Debug)]
struct Item {
    state: ConversationState,
    last: Option<ReceivedMessage>,
    end: u64,
    /// Unread ones whose places are not known; all of them are before those that are.
    unlisted: usize,
    more: bool,
    seqs: BTreeSet<u64>,
    mentions: BTreeSet<u64>,
}

#[derive(Clone, Debug)]
struct Recent {
    log: Log,
    seq: u64,
    /// None: it belongs to no conversation.
    conversation: Option<Recipient>,
    message: ReceivedMessage,
}

impl ConversationList {
    /// An empty list of a user, to be loaded.
    pub fn new(user: UserId) -> Self {
        Self { user, items: BTreeMap::new(), recent: VecDeque::new(), inbox_end: 0, stale: true }
    }

    /// Whether pages have to be loaded.
    pub fn needs_loading(&self) -> bool {
        self.stale
    }

    /// Before the first page is asked for: what was known gives way to what comes.
    pub fn begin_loading(&mut self) {
        self.items.clear();
        self.inbox_end = 0;
        self.stale = false;
    }

    /// Takes a page.
    pub fn load(&mut self, page: ConversationPage) {
        self.inbox_end = self.inbox_end.max(page.inbox_end);
        let all: Vec<ListedConversation> = page.conversations.into_iter().chain(page.hidden).collect();
        let names: Vec<Recipient> = all.iter().map(|listed| listed.state.conversation.clone()).collect();
        for listed in all {
            let name = listed.state.conversation.clone();
            let known = self.items.insert(name.clone(), Item::from(listed));
            // What was set since the page was made.
            if let Some(known) = known {
                self.set(known.state);
            }
        }
        for name in names {
            self.catch_up(&name);
        }
        if !page.more {
            // Conversations that began since.
            self.catch_up_with_new();
        }
    }

    /// Takes an event. True: something in the list may look different.
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
                        self.items.remove(&Recipient::Channel(channel.clone())).is_some()
                    }
                    _ => {
                        self.stale = true;
                        false
                    }
                }
            }
            _ => false,
        }
    }

    /// The conversations: pinned ones first, then by their last messages, newest first.
    pub fn conversations(&self) -> Vec<ListedConversation> {
        let mut listed: Vec<&Item> = self.items.values().filter(|item| item.is_listed()).collect();
        listed.sort_by_cached_key(|item| {
            let sent = item.last.as_ref().map(|last| last.id.as_u64());
            (Reverse(item.state.pinned), Reverse(sent), item.state.conversation.clone())
        });
        listed.into_iter().map(Item::show).collect()
    }

    /// One of them, also if it is hidden.
    pub fn get(&self, conversation: &Recipient) -> Option<ListedConversation> {
        self.items.get(conversation).map(Item::show)
    }

    /// Unread messages in all conversations that are in the list and not muted.
    pub fn unread(&self) -> Unread {
        let heard = self.items.values().filter(|item| item.is_listed() && !item.state.muted);
        heard.fold(Unread::default(), |sum, item| Unread {
            count: sum.count + item.count() as u64,
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
        if position.log == Log::Inbox {
            self.inbox_end = self.inbox_end.max(position.seq);
        }
        conversation.is_some()
    }

    /// `known_to`: the end of the inbox that is known of those without an item.
    fn add(&mut self, name: &Recipient, seq: u64, message: &ReceivedMessage, known_to: u64) {
        let is_news = stands_alone(&message.content) && (name.as_user().is_none() || seq > known_to);
        if !is_news && !self.items.contains_key(name) {
            return;
        }
        let new = || Item::new(ConversationState::new(name.clone()));
        let item = self.items.entry(name.clone()).or_insert_with(new);
        item.add(&self.user, seq, message);
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
            // A channel is in the list when the device follows it.
            None if state.conversation.as_channel().is_some() => self.stale = true,
            None => _ = self.items.insert(state.conversation.clone(), Item::new(state)),
        }
    }

    /// Adds what came after the page was made.
    fn catch_up(&mut self, name: &Recipient) {
        let Some(item) = self.items.get_mut(name) else { return };
        let log = name.as_channel().map_or(Log::Inbox, |channel| Log::Channel(channel.clone()));
        let known_to = item.end;
        let mut later =
            self.recent.iter().filter(|recent| recent.log == log && recent.seq > known_to).peekable();
        // Entries have no holes: what came first is gone.
        self.stale |= later.peek().is_some_and(|first| first.seq > known_to + 1);
        for recent in later.filter(|recent| recent.conversation.as_ref() == Some(name)) {
            item.add(&self.user, recent.seq, &recent.message);
        }
    }

    fn catch_up_with_new(&mut self) {
        let known_to = self.inbox_end;
        let is_new = |recent: &&Recent| {
            recent.conversation.as_ref().is_some_and(|name| !self.items.contains_key(name))
        };
        let new: Vec<Recent> = self.recent.iter().filter(is_new).cloned().collect();
        for recent in new {
            if let Some(name) = &recent.conversation {
                self.add(name, recent.seq, &recent.message, known_to);
            }
        }
    }
}

impl From<ListedConversation> for Item {
    fn from(listed: ListedConversation) -> Self {
        let seqs: BTreeSet<u64> = listed.unread_seqs.into_iter().collect();
        let unread = usize::try_from(listed.unread).unwrap_or(MAX_UNREAD);
        Self {
            state: listed.state,
            last: listed.last,
            end: listed.end,
            unlisted: unread.saturating_sub(seqs.len()),
            more: listed.unread_more,
            seqs,
            mentions: listed.mention_seqs.into_iter().collect(),
        }
    }
}

impl Item {
    fn new(state: ConversationState) -> Self {
        Self {
            state,
            last: None,
            end: 0,
            unlisted: 0,
            more: false,
            seqs: BTreeSet::new(),
            mentions: BTreeSet::new(),
        }
    }

    fn last_seq(&self) -> u64 {
        self.last.as_ref().and_then(|last| last.position.as_ref()).map_or(0, |position| position.seq)
    }

    fn is_listed(&self) -> bool {
        self.state.is_listed(self.last_seq())
    }

    fn count(&self) -> usize {
        (self.unlisted + self.seqs.len()).min(MAX_UNREAD)
    }

    fn more(&self) -> bool {
        self.more || self.unlisted + self.seqs.len() > MAX_UNREAD
    }

    fn show(&self) -> ListedConversation {
        let newest = self.seqs.len().saturating_sub(LISTED);
        let unread_seqs: Vec<u64> = self.seqs.iter().skip(newest).copied().collect();
        let first = unread_seqs.first().copied().unwrap_or(u64::MAX);
        ListedConversation {
            state: self.state.clone(),
            last: self.last.clone(),
            end: self.end,
            unread: u32::try_from(self.count()).unwrap_or(u32::MAX),
            unread_more: self.more(),
            mention_seqs: self.mentions.range(first..).copied().collect(),
            unread_seqs,
        }
    }

    fn add(&mut self, user: &UserId, seq: u64, message: &ReceivedMessage) {
        if seq <= self.end {
            return;
        }
        self.end = seq;
        if seq <= self.state.deleted {
            return;
        }
        // What changes another message is none to be shown or counted.
        if !stands_alone(&message.content) {
            return;
        }
        self.last = Some(message.clone());
        let from = message.from.as_ref().map_or("", UserId::as_str);
        if seq <= self.state.read_to() || !counts(from, &message.content, user) {
            return;
        }
        self.seqs.insert(seq);
        if mentions(&message.content, user) {
            self.mentions.insert(seq);
        }
        if self.seqs.len() > MAX_UNREAD + LISTED {
            self.seqs.pop_first();
            self.unlisted += 1;
        }
    }

    /// False: how many are unread now cannot be told.
    fn set(&mut self, state: ConversationState) -> bool {
        if state.version <= self.state.version {
            return true;
        }
        let before = std::mem::replace(&mut self.state, state);
        let (was, is) = (before.read_to(), self.state.read_to());
        if self.last_seq() <= self.state.deleted {
            self.last = None;
        }
        if is == was {
            return true;
        }
        let first = self.seqs.first().copied();
        self.seqs = self.seqs.split_off(&(is + 1));
        self.mentions = self.mentions.split_off(&(is + 1));
        // Those whose places are not known are before the first one that is, or before the end.
        let covers_unlisted = is >= first.unwrap_or(self.end);
        if covers_unlisted {
            (self.unlisted, self.more) = (0, false);
        }
        is > was && (covers_unlisted || (self.unlisted == 0 && !self.more))
    }
}
