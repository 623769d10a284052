//! Quotes and forwarded messages, verified against the logs.
//!
//! ```text
//!  device: "as bob said", message 7 at seq 40 of my log
//!     --> is it there, and is it that one?
//!         yes --> who sent it and what it says is taken from the log: verified
//!         no  --> it stays what the device says: not verified
//! ```

use std::{collections::HashMap, sync::Arc};

use futures_util::{StreamExt as _, stream};

use super::change::IncomingChange;
use crate::{
    Recipient,
    backend::{
        amend::AmendError,
        history::{HistoryError, HistoryReader, LoggedMessage},
    },
    cluster::{LogId, MemberStore, MembersError},
    content::{Body, Content, ForwardSource, ForwardedEntry, Quote},
    id::{ChannelId, MessageId, UserId},
};

/// The number of forwarded messages that are looked up at once.
const AT_ONCE: usize = 8;

/// The number of channels whose messages in one bundle are verified. Each costs a check of the
/// membership.
const MAX_CHANNELS: usize = 8;

/// A message could not be looked up. The device retries.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReferenceError {
    #[error(transparent)]
    History(#[from] HistoryError),
    #[error(transparent)]
    Members(#[from] MembersError),
    #[error(transparent)]
    Amend(#[from] AmendError),
}

/// A quoted message that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Quoted {
    pub(super) log: LogId,
    pub(super) seq: u64,
    pub(super) message_id: MessageId,
    /// The quote with the message's present content.
    quote: Quote,
}

/// Verifies what devices quote and forward.
#[derive(Debug)]
pub(in crate::backend) struct References {
    history: Arc<HistoryReader>,
    members: Arc<dyn MemberStore>,
}

impl References {
    pub(super) fn new(history: Arc<HistoryReader>, members: Arc<dyn MemberStore>) -> Self {
        Self { history, members }
    }

    /// Replaces a device's claims by the content of the logs. Returns the quoted message, if it was
    /// found.
    pub(super) async fn resolve(
        &self,
        from: &UserId,
        to: &Recipient,
        content: &mut Content,
    ) -> Result<Option<Quoted>, ReferenceError> {
        forget_claims(content);
        let quoted = match content.quote.as_deref() {
            Some(quote) => self.find_quoted(from, to, quote.message_id, quote.seq).await?,
            None => None,
        };
        if let Some(quote) = &mut content.quote {
            match &quoted {
                Some(found) => (**quote).clone_from(&found.quote),
                None => quote.seq = 0,
            }
        }
        if let Body::Forwarded(forwarded) = &mut content.body {
            self.resolve_forwarded(from, &mut forwarded.entries).await?;
        }
        Ok(quoted)
    }

    /// Returns `true` if the message of a verified quote has been recalled or edited since.
    pub(super) async fn is_outdated(&self, quoted: &Quoted) -> Result<bool, ReferenceError> {
        let Quoted { log, seq, message_id, quote } = quoted;
        let found = self.history.message_at(log, *seq, *message_id).await?;
        Ok(found.is_some_and(|entry| quote_of(&entry) != *quote))
    }

    /// Finds the quoted message, if it is in the conversation that the quote goes to.
    async fn find_quoted(
        &self,
        from: &UserId,
        to: &Recipient,
        message_id: MessageId,
        seq: u64,
    ) -> Result<Option<Quoted>, ReferenceError> {
        let log = IncomingChange::log(from, to);
        let found = self.history.message_at(&log, seq, message_id).await?;
        let is_theirs = |entry: &LoggedMessage| match to {
            Recipient::User(other) => is_between(entry, from, other),
            Recipient::Channel(_) => true,
        };
        let found = found.filter(|entry| entry.content.as_change().is_none() && is_theirs(entry));
        Ok(found.map(|entry| Quoted { log, seq, message_id, quote: quote_of(&entry) }))
    }

    async fn resolve_forwarded(
        &self,
        from: &UserId,
        entries: &mut Vec<ForwardedEntry>,
    ) -> Result<(), ReferenceError> {
        let channels = self.readable_channels(from, entries).await?;
        let sources = entries.iter_mut().map(|entry| entry.source.take());
        let sources: Vec<Option<(LogId, ForwardSource)>> = sources
            .map(|source| {
                let source = source?;
                let log = match &source.channel {
                    None => LogId::Inbox(from.clone()),
                    Some(channel) if channels.get(channel) == Some(&true) => LogId::Channel(channel.clone()),
                    Some(_) => return None,
                };
                Some((log, source))
            })
            .collect();
        let mut found = Vec::with_capacity(sources.len());
        for source in &sources {
            found.push(self.find_forwarded(source.as_ref()));
        }
        let mut found = stream::iter(found).buffered(AT_ONCE);
        let mut recalled = Vec::with_capacity(entries.len());
        for entry in entries.iter_mut() {
            let message = found.next().await.transpose()?.flatten();
            let amended = message.as_ref().and_then(|message| message.content.amended.as_deref());
            recalled.push(amended.is_some_and(|amended| amended.recalled));
            let Some(message) = message else { continue };
            let content = message.content;
            // A change is not shown.
            if content.as_change().is_none() && !content.is_empty() {
                entry.from = message.from;
                entry.sent_at_ms = message.message_id.unix_ms();
                entry.content = Content { amended: None, ..content };
                entry.verified = true;
            }
        }
        drop(found);
        // A recalled message is not forwarded, even if the device still has its content.
        let mut recalled = recalled.into_iter();
        entries.retain(|_| !recalled.next().unwrap_or_default());
        Ok(())
    }

    async fn find_forwarded(
        &self,
        source: Option<&(LogId, ForwardSource)>,
    ) -> Result<Option<LoggedMessage>, HistoryError> {
        let Some((log, source)) = source else { return Ok(None) };
        self.history.message_at(log, source.seq, source.message_id).await
    }

    /// Returns the channels that entries come from, and whether the user may read them.
    async fn readable_channels(
        &self,
        user: &UserId,
        entries: &[ForwardedEntry],
    ) -> Result<HashMap<ChannelId, bool>, MembersError> {
        let mut channels = HashMap::new();
        for channel in entries.iter().filter_map(|entry| entry.source.as_ref()?.channel.as_ref()) {
            if !channels.contains_key(channel) && channels.len() < MAX_CHANNELS {
                let is_member = self.members.is_member(channel, user).await?;
                channels.insert(channel.clone(), is_member);
            }
        }
        Ok(channels)
    }
}

/// Removes parts of a device's content that only a backend may set, also in forwarded messages.
fn forget_claims(content: &mut Content) {
    content.amended = None;
    if let Some(quote) = &mut content.quote {
        (quote.verified, quote.recalled) = (false, false);
        (quote.change, quote.order) = (None, 0);
    }
    if let Body::Forwarded(forwarded) = &mut content.body {
        for entry in &mut forwarded.entries {
            entry.verified = false;
            forget_claims(&mut entry.content);
            forget_places(&mut entry.content);
        }
    }
}

/// Removes the sources in nested bundles: only entries of the outermost one are looked up.
fn forget_places(content: &mut Content) {
    if let Some(quote) = &mut content.quote {
        quote.seq = 0;
    }
    if let Body::Forwarded(forwarded) = &mut content.body {
        forwarded.entries.iter_mut().for_each(|entry| entry.source = None);
    }
}

/// Returns `true` if a message in one user's inbox is of the conversation with the other, so that
/// both have it.
fn is_between(entry: &LoggedMessage, owner: &UserId, other: &UserId) -> bool {
    match (&entry.from, &entry.to) {
        // The owner's own message to the other user alone. One to several users does not name them.
        (Some(from), to) if from == owner => to.as_ref() == Some(other),
        // The other user's message to the owner, perhaps among others.
        (Some(from), _) => from == other,
        // A message of the backend may be in nobody else's inbox.
        (None, _) => owner == other,
    }
}

fn quote_of(entry: &LoggedMessage) -> Quote {
    Quote { verified: true, ..Quote::new(entry.message_id, entry.from.clone(), &entry.content) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        backend::{Im, Message, channel, user},
        cluster::Cluster,
        content::Forwarded,
    };

    fn name(name: &str) -> UserId {
        name.parse().unwrap()
    }

    async fn back_end() -> Im {
        Im::with_cluster(Cluster::embedded()).await.unwrap()
    }

    /// Sends a message. Returns its id, and its seq in the recipient's inbox.
    async fn said(im: &Im, from: &str, to: &str, text: &str) -> (MessageId, u64) {
        let receipt = im.send(Message::to(user(to)).from(from).text(text)).await.unwrap();
        (receipt.message_id, receipt.logged[0].1)
    }

    fn lie(id: MessageId, seq: u64) -> Quote {
        let mut quote = Quote::new(id, Some(name("carol")), &Content::text("I resign. Boss"));
        (quote.seq, quote.verified) = (seq, true);
        quote
    }

    async fn resolved(im: &Im, from: &str, to: impl Into<Recipient>, mut content: Content) -> Content {
        im.inner.service.references.resolve(&name(from), &to.into(), &mut content).await.unwrap();
        content
    }

    async fn quote(im: &Im, from: &str, to: impl Into<Recipient>, quote: Quote) -> Quote {
        *resolved(im, from, to, Content::text("see").quote(quote)).await.quote.unwrap()
    }

    #[tokio::test]
    async fn a_quote_says_what_the_log_says() {
        let im = back_end().await;
        // This gives the message different seqs in the two inboxes.
        said(&im, "carol", "bob", "hello, bob").await;
        let (id, seq) = said(&im, "alice", "bob", "lunch?").await;
        let found = quote(&im, "bob", name("alice"), lie(id, seq)).await;
        assert!(found.verified && found.seq == 0);
        assert_eq!((found.from, &*found.excerpt), (Some(name("alice")), "lunch?"));
        let (own, at) = said(&im, "bob", "alice", "yes").await;
        assert!(!quote(&im, "bob", name("alice"), lie(own, at)).await.verified, "another one's place");
        assert!(quote(&im, "alice", name("bob"), lie(own, at)).await.verified);
    }

    #[tokio::test]
    async fn what_is_not_there_stays_a_claim() {
        let im = back_end().await;
        let (id, seq) = said(&im, "alice", "bob", "for bob alone").await;
        let elsewhere = MessageId::from_u64(4711).unwrap();
        for claimed in [lie(elsewhere, seq), lie(id, seq + 1), lie(id, 0), lie(id, u64::MAX)] {
            let found = quote(&im, "bob", name("alice"), claimed.clone()).await;
            assert_eq!(found, Quote { seq: 0, verified: false, ..claimed });
        }
        // The message is between bob and alice, and not for carol.
        assert!(!quote(&im, "bob", name("carol"), lie(id, seq)).await.verified);
        let team: ChannelId = "team".parse().unwrap();
        assert!(!quote(&im, "bob", team, lie(id, seq)).await.verified);
        assert!(!quote(&im, "carol", name("alice"), lie(id, seq)).await.verified);
    }

    #[tokio::test]
    async fn a_quote_in_a_channel_is_of_that_channel() {
        let im = back_end().await;
        let team: ChannelId = "team".parse().unwrap();
        let receipt = im.send(Message::to(channel("team")).from("alice").text("to the team")).await.unwrap();
        let (id, seq) = (receipt.message_id, receipt.channel.unwrap().seq);
        let found = quote(&im, "bob", team, lie(id, seq)).await;
        assert!(found.verified);
        assert_eq!((found.from, &*found.excerpt), (Some(name("alice")), "to the team"));
        let other: ChannelId = "other".parse().unwrap();
        assert!(!quote(&im, "bob", other, lie(id, seq)).await.verified);
    }

    #[tokio::test]
    async fn forwarded_messages_say_what_the_logs_say() {
        let im = back_end().await;
        im.channel("team").add_members(["bob"]).await.unwrap();
        let (id, seq) = said(&im, "alice", "bob", "mine").await;
        let receipt = im.send(Message::to(channel("team")).from("alice").text("the team's")).await.unwrap();
        let (in_team, at) = (receipt.message_id, receipt.channel.unwrap().seq);
        let entry = |message_id, seq, channel: Option<&str>| {
            let content = Content::text("a lie").quote(lie(id, seq));
            let mut entry = ForwardedEntry::new(id, Some(name("carol")), content);
            entry.verified = true;
            let channel = channel.map(|name| name.parse().unwrap());
            entry.source = Some(ForwardSource { message_id, seq, channel });
            entry
        };
        let bundle = || {
            Content::from(Forwarded::new(
                "",
                [
                    entry(id, seq, None),
                    entry(in_team, at, Some("team")),
                    entry(id, seq + 7, None),
                    entry(in_team, at, Some("other")),
                ],
            ))
        };
        let verified = async |by: &str| {
            let content = resolved(&im, by, name("dave"), bundle()).await;
            let Body::Forwarded(forwarded) = content.body else { panic!("a bundle") };
            let of_entry = |entry: ForwardedEntry| {
                assert_eq!(entry.source, None);
                let quote = entry.content.quote.clone();
                assert!(
                    quote.is_none_or(|quote| !quote.verified && quote.seq == 0),
                    "no lie inside is verified"
                );
                assert_eq!(entry.verified, entry.content.as_text() != Some("a lie"));
                let from = entry.from.unwrap().to_string();
                assert_eq!(entry.verified, from == "alice");
                entry.verified
            };
            forwarded.entries.into_iter().map(of_entry).collect::<Vec<bool>>()
        };
        assert_eq!(verified("bob").await, [true, true, false, false]);
        assert_eq!(verified("dave").await, [false; 4], "neither the inbox nor the channel is dave's");
    }

    #[tokio::test]
    async fn what_was_recalled_is_not_passed_on() {
        let im = back_end().await;
        let (recalled, at) = said(&im, "alice", "bob", "a secret").await;
        let (other, other_at) = said(&im, "alice", "bob", "lunch?").await;
        im.change(crate::backend::users(["alice", "bob"]), crate::content::Change::recall(recalled))
            .await
            .unwrap();
        let entry = |message_id, seq| {
            let mut entry = ForwardedEntry::new(message_id, Some(name("alice")), Content::text("a secret"));
            entry.source = Some(ForwardSource { message_id, seq, channel: None });
            entry
        };
        let bundle = Content::from(Forwarded::new("", [entry(recalled, at), entry(other, other_at)]));
        let content = resolved(&im, "bob", name("dave"), bundle).await;
        let Body::Forwarded(forwarded) = content.body else { panic!("a bundle") };
        let texts: Vec<_> = forwarded.entries.iter().map(|entry| entry.content.as_text().unwrap()).collect();
        assert_eq!(texts, ["lunch?"]);
    }

    #[tokio::test]
    async fn claims_deep_inside_are_forgotten() {
        let im = back_end().await;
        let (id, seq) = said(&im, "alice", "bob", "lunch?").await;
        let lying = || Content::text("x").quote(lie(id, seq));
        let mut inner = ForwardedEntry::new(id, None, lying());
        inner.verified = true;
        inner.source = Some(ForwardSource { message_id: id, seq, channel: None });
        let middle = ForwardedEntry::new(id, None, Forwarded::new("", [inner]).into());
        let content = resolved(&im, "bob", name("alice"), Forwarded::new("", [middle]).into()).await;
        let Body::Forwarded(mut outer) = content.body else { panic!("a bundle") };
        let Body::Forwarded(mut middle) = outer.entries.remove(0).content.body else { panic!("a bundle") };
        let inner = middle.entries.remove(0);
        assert!(!inner.verified && inner.source.is_none());
        let quote = inner.content.quote.unwrap();
        assert!(!quote.verified && quote.seq == 0);
    }
}
