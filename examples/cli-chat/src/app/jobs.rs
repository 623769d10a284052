//! Requests to the backend. Events must be taken while a request is in progress, so each request is a future that the loop
//! awaits beside them.

use std::sync::Arc;

use futures_util::{FutureExt as _, future::BoxFuture};
use im_sdk::{
    Conversation, HistoryRange, Recipient, Search, UserPresence,
    client::{
        Client, ConversationPage, FoundPage, PublishError, Published, Readers, ReceivedMessage, RequestError,
    },
    id::{ChannelId, UserId},
};

use crate::{book::is_notice, groups::Request};

/// A request in progress.
pub(super) type Job = BoxFuture<'static, Answer>;

/// The answer to a request.
pub(super) enum Answer {
    Conversations(Result<Vec<ConversationPage>, RequestError>),
    Past { conversation: Recipient, is_older: bool, outcome: Result<Past, RequestError> },
    Found(Result<FoundPage, RequestError>),
    Notices(Result<Vec<ReceivedMessage>, RequestError>),
    Presences(Result<Vec<UserPresence>, RequestError>),
    Readers(u32, Result<Readers, RequestError>),
    Group(Request, Result<Published, PublishError>),
}

/// A part of a conversation's history.
pub(super) struct Past {
    pub(super) entries: Vec<ReceivedMessage>,
    /// The range of the next page. `None` after the last one.
    pub(super) next: Option<HistoryRange>,
}

/// Requests all conversations.
pub(super) fn conversations(client: Arc<Client>) -> Job {
    let pages = async move {
        let (mut pages, mut skip) = (Vec::new(), 0);
        loop {
            let page = client.conversations(skip, 0).await?;
            skip += page.count();
            let more = page.more && page.count() > 0;
            pages.push(page);
            if !more {
                return Ok(pages);
            }
        }
    };
    pages.map(Answer::Conversations).boxed()
}

/// Requests the messages of a conversation before a place, or the newest ones.
pub(super) fn past(client: Arc<Client>, conversation: Recipient, before: Option<HistoryRange>) -> Job {
    let is_older = before.is_some();
    let asked = conversation.clone();
    let pages = async move { back(&client, &asked, before.unwrap_or(HistoryRange::Newest)).await };
    pages.map(move |outcome| Answer::Past { conversation, is_older, outcome }).boxed()
}

/// Goes back until there are enough messages to show. A page may be empty although more follow.
async fn back(client: &Client, conversation: &Recipient, from: HistoryRange) -> Result<Past, RequestError> {
    let mut past = Past { entries: Vec::new(), next: Some(from) };
    let mut changes = Vec::new();
    for _ in 0..MAX_PAGES {
        let Some(range) = past.next else { break };
        let page = client.history(conversation, range, PAGE).await?;
        past.next = page.next;
        past.entries.splice(..0, page.messages);
        changes.extend(page.changes);
        if past.entries.len() >= ENOUGH {
            break;
        }
    }
    past.entries.append(&mut changes);
    Ok(past)
}

/// Searches all conversations for words.
pub(super) fn found(client: Arc<Client>, words: String) -> Job {
    async move { Answer::Found(client.search(Search::new(words), FOUND).await) }.boxed()
}

/// Requests the end of the inbox, back to enough messages of the backend itself. History cannot filter by them.
pub(super) fn notices(client: Arc<Client>) -> Job {
    let pages = async move {
        let (mut entries, mut range) = (Vec::new(), Some(HistoryRange::Newest));
        for _ in 0..MAX_PAGES {
            let Some(from) = range else { break };
            let page = client.history(Conversation::Inbox, from, LARGE_PAGE).await?;
            range = page.next;
            entries.splice(..0, page.messages);
            if entries.iter().filter(|entry| is_notice(entry)).count() >= NOTICES {
                break;
            }
        }
        Ok(entries)
    };
    pages.map(Answer::Notices).boxed()
}

/// Watches the presence of users.
pub(super) fn presences(client: Arc<Client>, users: Vec<UserId>) -> Job {
    async move { Answer::Presences(client.watch(users).await) }.boxed()
}

/// Requests the readers of a message in a group.
pub(super) fn readers(client: Arc<Client>, number: u32, channel: ChannelId, seq: u64) -> Job {
    async move { Answer::Readers(number, client.readers(&channel, seq, READERS).await) }.boxed()
}

/// Sends a request about a group.
pub(super) fn group(client: Arc<Client>, back_end: UserId, request: Request) -> Job {
    let content = request.content();
    let asking = async move { client.send(back_end, content).outcome().await };
    asking.map(|outcome| Answer::Group(request, outcome)).boxed()
}

/// Entries of a page, messages that are enough to show, and pages that are requested at most.
const PAGE: u32 = 20;
const ENOUGH: usize = 10;
const MAX_PAGES: usize = 5;

/// The largest page that a backend returns.
const LARGE_PAGE: u32 = 200;

/// Results that fit on a screen.
const FOUND: u32 = 20;
pub(super) const NOTICES: usize = 20;
const READERS: u32 = 20;
