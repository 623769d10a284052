//! A device of alice, with a model that it keeps up to date.

use std::collections::VecDeque;

use rand::{RngExt as _, rngs::StdRng, seq::IndexedRandom as _};

use crate::{
    ConversationChange, ReadMark, Recipient, Transport,
    backend::{
        Im, LoggedMessage, Message, conversations::Which, message_store::RawEntry, send::message::Target,
        user, users,
    },
    client::{self, ConversationList, Event, Log, ReceivedMessage},
    cluster::{Cluster, LogId, ReadLimit},
    content::{Change, ChangeKind, Content},
    id::{ChannelId, MessageId, UserId},
};

pub(super) const ALICE: &str = "alice";
const LOGS: [&str; 3] = ["", "team", "club"];

pub(super) fn alice() -> UserId {
    ALICE.parse().unwrap()
}

pub(super) fn peer(name: &str) -> Recipient {
    Recipient::User(name.parse().unwrap())
}

pub(super) fn group(name: &str) -> Recipient {
    Recipient::Channel(name.parse().unwrap())
}

pub(super) fn log_id(name: &str) -> LogId {
    match Log::parse(name).unwrap() {
        Log::Inbox => LogId::Inbox(alice()),
        Log::Channel(channel) => LogId::Channel(channel),
    }
}

pub(super) fn received(log: &str, entry: RawEntry) -> ReceivedMessage {
    let seq = entry.seq;
    let entry = LoggedMessage::of(None, entry);
    let log = Log::parse(log).unwrap();
    ReceivedMessage {
        id: entry.message_id,
        from: entry.from,
        to: entry.to,
        channel: log.channel().cloned(),
        content: entry.content,
        local_id: None,
        transport: Transport::Quic,
        position: Some(client::Position { log, seq, id: Some(entry.message_id) }),
    }
}

/// Alice's device, and the events on their way to it.
pub(super) struct Device {
    pub(super) im: Im,
    pub(super) list: ConversationList,
    /// The seq up to which each log was sent.
    sent: [u64; 3],
    entries: [VecDeque<Event>; 3],
    changes: Vec<Event>,
    pub(super) loads: u32,
    /// The messages sent so far, each with its sender and its recipient.
    said: Vec<(MessageId, &'static str, Recipient)>,
}

impl Device {
    pub(super) async fn new() -> Self {
        let im = Im::with_cluster(Cluster::embedded()).await.unwrap();
        for name in &LOGS[1..] {
            im.channel(*name).add_members([ALICE, "bob"]).await.unwrap();
        }
        let list = ConversationList::new(alice());
        let (entries, changes, said) = Default::default();
        Self { im, list, sent: [0; 3], entries, changes, loads: 0, said }
    }

    /// Puts newly appended entries on their way.
    pub(super) async fn push(&mut self) {
        for (at, name) in LOGS.iter().enumerate() {
            let page = self
                .im
                .inner
                .cluster
                .log()
                .read(&log_id(name), self.sent[at], ReadLimit::new(1000).with_bytes(usize::MAX))
                .await
                .unwrap();
            self.sent[at] = page.last;
            let events = page.entries.into_iter().map(|entry| Event::Message(received(name, entry.into())));
            self.entries[at].extend(events);
        }
    }

    pub(super) async fn page(&self) -> client::ConversationPage {
        let list = self
            .im
            .inner
            .conversations
            .lists
            .read(&alice(), Which::All, 0, ReadLimit::new(100))
            .await
            .unwrap();
        let conversations = list.conversations.into_iter().map(|listed| {
            let name = listed.state.conversation.as_channel().map_or("", ChannelId::as_str).to_owned();
            client::ListedConversation {
                unread: listed.unread.count(),
                unread_more: listed.unread.more,
                unread_seqs: listed.unread.seqs(),
                unread_ids: listed.unread.ids(),
                mention_seqs: listed.unread.mentions(),
                mentions: listed.unread.mentioned(),
                last: listed.last.map(|last| received(&name, last)),
                last_edit: listed.last_edit.map(|edit| edit.change),
                last_recalled: listed.last_recalled,
                end: listed.end,
                state: listed.state,
            }
        });
        let (conversations, hidden) = conversations.partition(client::ListedConversation::is_listed);
        client::ConversationPage {
            conversations,
            hidden,
            more: list.more,
            unread: list.unread.count,
            unread_more: list.unread.more,
            version: list.version,
            inbox_end: list.inbox_end,
        }
    }

    pub(super) fn load(&mut self, page: client::ConversationPage) {
        self.list.begin_loading();
        self.list.load(page);
        self.loads += 1;
    }

    /// Delivers some events: entries in the order of their log, changes in any order.
    pub(super) fn deliver(&mut self, rng: &mut StdRng, at_most: usize) {
        for _ in 0..at_most {
            let at = rng.random_range(0..4);
            if at < 3 {
                if let Some(event) = self.entries[at].pop_front() {
                    self.list.apply(&event);
                }
            } else if !self.changes.is_empty() {
                let event = self.changes.swap_remove(rng.random_range(0..self.changes.len()));
                self.list.apply(&event);
            }
        }
    }

    pub(super) fn deliver_all(&mut self) {
        let entries = self.entries.iter_mut().flat_map(std::mem::take);
        let changes = std::mem::take(&mut self.changes);
        for event in entries.chain(changes).collect::<Vec<_>>() {
            self.list.apply(&event);
        }
    }

    pub(super) async fn send(&mut self, rng: &mut StdRng) {
        let (from, to) = [
            ("bob", peer(ALICE)),
            ("carol", peer(ALICE)),
            (ALICE, peer("bob")),
            (ALICE, peer("dave")),
            (ALICE, peer(ALICE)),
            ("", peer(ALICE)),
            ("bob", group("team")),
            ("carol", group("team")),
            (ALICE, group("team")),
            ("bob", group("club")),
        ]
        .choose(rng)
        .unwrap()
        .clone();
        let content = match rng.random_range(0..8) {
            0 => Content::text("@alice").mention(alice()),
            1 => Content::text("@all").mention_everybody(),
            2 => {
                let same = self.said.iter().rev().find(|(_, by, at)| *by == from && *at == to);
                same.map_or(Content::text("hi"), |(id, ..)| Change::pin(*id).into())
            }
            _ => Content::text("hi"),
        };
        let id = self.say(from, to.clone().into(), content).await;
        self.said.push((id, from, to));
    }

    pub(super) async fn say(&self, from: &str, to: Target, content: Content) -> MessageId {
        let message = Message::to(to).content(content);
        let message = if from.is_empty() { message } else { message.from(from) };
        self.im.send(message).await.unwrap().message_id
    }

    /// Changes a message, mostly one of the last. A few are changed more than once.
    pub(super) async fn change(&mut self, rng: &mut StdRng) {
        let oldest = self.said.len().saturating_sub(12);
        let Some((id, from, to)) = self.said[oldest..].choose(rng).cloned() else { return };
        let (by, change) = match rng.random_range(0..6) {
            0 | 1 => (from, Change::recall(id)),
            2 => (from, Change::edit(id, Content::text("so, @alice").mention(alice()))),
            3 => (from, Change::edit(id, Content::text("never mind"))),
            4 => ("", Change::recall(id)),
            _ => (ALICE, Change::delete_for_me(id)),
        };
        let (change, to) = match to {
            Recipient::Channel(name) if change.kind == ChangeKind::DeleteForMe => {
                (Change { channel: Some(name), ..change }, user(ALICE))
            }
            // The backend's own change of a message between two users is in both inboxes.
            Recipient::User(to) if by.is_empty() && !from.is_empty() && to.as_str() != from => {
                (change, users([from, to.as_str()]))
            }
            to => (change, to.into()),
        };
        self.say(by, to, change.into()).await;
    }

    pub(super) async fn set(&mut self, rng: &mut StdRng) {
        let names: [Recipient; 5] = [peer("bob"), peer("carol"), peer("dave"), group("team"), group("club")];
        let name = names.choose(rng).unwrap();
        let log = match name {
            Recipient::User(_) => log_id(""),
            Recipient::Channel(channel) => LogId::Channel(channel.clone()),
        };
        let last = self.im.inner.cluster.log().ends(&[log]).await.unwrap()[0].last;
        // Mostly near the end, as people read.
        let seq = if rng.random_bool(0.7) { last } else { rng.random_range(0..last + 3) };
        let change = ConversationChange::new();
        let change = match rng.random_range(0..10) {
            0..5 => change.read(ReadMark::new(seq, None)),
            5 => change.pin(rng.random_bool(0.5)),
            6 => change.mute(rng.random_bool(0.5)),
            7 => change.hide(seq),
            8 => change.delete(seq),
            _ => change.draft("so far"),
        };
        let state = self.im.set_conversation(&alice(), name.clone(), change).await.unwrap();
        self.changes.push(Event::ConversationsChanged(vec![state]));
    }

    pub(super) async fn check(&mut self, what: &str) {
        let fresh = self.page().await;
        let (unread, more) = (fresh.unread, fresh.unread_more);
        assert_eq!(self.list.unread(), client::Unread { count: unread, more }, "{what}");
        let comparable = |mut listed: client::ListedConversation| {
            // A list that applied the edit itself does not mark the content as amended.
            if let Some(last) = listed.last.as_mut().filter(|_| listed.last_edit.is_some()) {
                last.content.amended = None;
            }
            client::ListedConversation { end: 0, ..listed }
        };
        let fresh: Vec<_> = fresh.conversations.into_iter().map(comparable).collect();
        let known: Vec<_> = self.list.conversations().into_iter().map(comparable).collect();
        for (known, fresh) in known.iter().zip(&fresh) {
            assert_eq!(known, fresh, "{what}");
        }
        assert_eq!(known.len(), fresh.len(), "{what}: {:?}, {:?}", known.last(), fresh.last());
    }
}
