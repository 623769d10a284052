//! A device's model against what the back end says.
#![allow(clippy::unwrap_used, reason = "a failed step of a test is a panic")]

use std::collections::VecDeque;

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng, seq::IndexedRandom as _};

use super::*;
use crate::{
    backend::{Message, channel, history::RawEntry, user},
    client::{self, ConversationList, Event, Log, ReceivedMessage, Transport},
    cluster::Cluster,
    content::{Change, Content},
    id::{ChannelId, MessageId},
};

const ALICE: &str = "alice";
const LOGS: [&str; 3] = ["", "team", "club"];

fn alice() -> UserId {
    ALICE.parse().unwrap()
}

fn log_id(name: &str) -> LogId {
    match Log::parse(name).unwrap() {
        Log::Inbox => LogId::Inbox(alice()),
        Log::Channel(channel) => LogId::Channel(channel),
    }
}

fn received(log: &str, entry: RawEntry) -> ReceivedMessage {
    let seq = entry.seq;
    let entry = HistoryEntry::from(entry);
    let log = Log::parse(log).unwrap();
    ReceivedMessage {
        id: entry.message_id,
        from: entry.from,
        to: entry.to,
        channel: log.channel().cloned(),
        content: entry.content,
        transport: Transport::Quic,
        position: Some(client::Position { log, seq, id: Some(entry.message_id) }),
    }
}

/// Alice's device, and what is on its way to it.
struct Device {
    im: Im,
    list: ConversationList,
    /// How much of each log has left.
    sent: [u64; 3],
    entries: [VecDeque<Event>; 3],
    changes: Vec<Event>,
    loads: u32,
}

impl Device {
    async fn new() -> Self {
        let im = Im::with_cluster(Cluster::embedded()).await.unwrap();
        for name in &LOGS[1..] {
            im.channel(*name).add_members([ALICE, "bob"]).await.unwrap();
        }
        let list = ConversationList::new(alice());
        Self { im, list, sent: [0; 3], entries: Default::default(), changes: Vec::new(), loads: 0 }
    }

    /// What was appended is on its way.
    async fn push(&mut self) {
        for (at, name) in LOGS.iter().enumerate() {
            let page = self.im.inner.cluster.log().read(&log_id(name), self.sent[at], 1000).await.unwrap();
            self.sent[at] = page.last;
            let events = page.entries.into_iter().map(|entry| Event::Message(received(name, entry.into())));
            self.entries[at].extend(events);
        }
    }

    async fn page(&self) -> client::ConversationPage {
        let list = self.im.raw_conversations(&alice(), Which::All, 0, 100).await.unwrap();
        let conversations = list.conversations.into_iter().map(|listed| {
            let name = listed.state.conversation.as_channel().map_or("", ChannelId::as_str).to_owned();
            client::ListedConversation {
                unread: listed.unread.count(),
                unread_more: listed.unread.more,
                unread_seqs: listed.unread.seqs.into(),
                mention_seqs: listed.unread.mentions.into(),
                last: listed.last.map(|last| received(&name, last)),
                end: listed.end,
                state: listed.state,
            }
        });
        let (conversations, hidden) = conversations.partition(client::ListedConversation::is_listed);
        client::ConversationPage {
            conversations,
            hidden,
            more: list.more,
            unread: list.unread,
            unread_more: list.unread_more,
            version: list.version,
            inbox_end: list.inbox_end,
        }
    }

    fn load(&mut self, page: client::ConversationPage) {
        self.list.begin_loading();
        self.list.load(page);
        self.loads += 1;
    }

    /// Some of what is on its way arrives: entries in the order of their log, changes in any.
    fn deliver(&mut self, rng: &mut StdRng, at_most: usize) {
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

    fn deliver_all(&mut self) {
        let entries = self.entries.iter_mut().flat_map(std::mem::take);
        let changes = std::mem::take(&mut self.changes);
        for event in entries.chain(changes).collect::<Vec<_>>() {
            self.list.apply(&event);
        }
    }

    async fn send(&mut self, rng: &mut StdRng) {
        let (from, to) = [
            ("bob", user(ALICE)),
            ("carol", user(ALICE)),
            (ALICE, user("bob")),
            (ALICE, user("dave")),
            (ALICE, user(ALICE)),
            ("", user(ALICE)),
            ("bob", channel("team")),
            ("carol", channel("team")),
            (ALICE, channel("team")),
            ("bob", channel("club")),
        ]
        .choose(rng)
        .unwrap()
        .clone();
        let content = match rng.random_range(0..8) {
            0 => Content::text("@alice").mention(alice()),
            1 => Content::text("@all").mention_everybody(),
            2 | 3 => Content::from(Change::pin(MessageId::from_u64(1 << 40).unwrap())),
            _ => Content::text("hi"),
        };
        let message = Message::to(to).content(content);
        let message = if from.is_empty() { message } else { message.from(from) };
        self.im.send(message).await.unwrap();
    }

    async fn set(&mut self, rng: &mut StdRng) {
        let names: [Recipient; 5] = [
            Recipient::User("bob".parse().unwrap()),
            Recipient::User("carol".parse().unwrap()),
            Recipient::User("dave".parse().unwrap()),
            Recipient::Channel("team".parse().unwrap()),
            Recipient::Channel("club".parse().unwrap()),
        ];
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

    async fn check(&mut self, what: &str) {
        let fresh = self.page().await;
        let (unread, more) = (fresh.unread, fresh.unread_more);
        assert_eq!(self.list.unread(), client::Unread { count: unread, more }, "{what}");
        let comparable = |listed: client::ListedConversation| client::ListedConversation { end: 0, ..listed };
        let fresh: Vec<_> = fresh.conversations.into_iter().map(comparable).collect();
        let known: Vec<_> = self.list.conversations().into_iter().map(comparable).collect();
        assert_eq!(known, fresh, "{what}");
    }
}

#[tokio::test]
async fn a_model_comes_to_the_same_list_as_the_back_end() {
    let (mut loads, mut checks) = (0, 0);
    for seed in 0..60 {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut device = Device::new().await;
        for step in 0..120 {
            match rng.random_range(0..10) {
                0..5 => device.send(&mut rng).await,
                5..7 => device.set(&mut rng).await,
                7 if device.list.needs_loading() => {
                    // What comes meanwhile waits.
                    let page = device.page().await;
                    device.send(&mut rng).await;
                    device.set(&mut rng).await;
                    device.push().await;
                    device.load(page);
                }
                _ => {
                    device.push().await;
                    device.deliver(&mut rng, 12);
                }
            }
            if step % 40 == 39 {
                device.push().await;
                device.deliver_all();
                if device.list.needs_loading() {
                    let page = device.page().await;
                    device.load(page);
                }
                device.check(&format!("seed {seed}, step {step}")).await;
                checks += 1;
            }
        }
        loads += device.loads;
    }
    assert!(loads < 3 * checks, "{loads} loads for {checks} checks: the model hardly ever knows");
}

#[tokio::test]
async fn counts_stop_where_nobody_reads_on() {
    let device = Device::new().await;
    let im = &device.im;
    for _ in 0..MAX_UNREAD + 5 {
        im.send(Message::to(channel("team")).from("bob").text("hi")).await.unwrap();
    }
    im.send(Message::to(user(ALICE)).from("bob").text("hi")).await.unwrap();
    let page = im.conversations(&alice(), 0, 10).await.unwrap();
    let team = page
        .conversations
        .iter()
        .find(|listed| listed.state.conversation.as_channel().is_some_and(|c| c.as_str() == "team"))
        .unwrap();
    assert_eq!((team.unread, team.unread_more), (MAX_UNREAD, true));
    assert_eq!((page.unread, page.unread_more), (u64::from(MAX_UNREAD) + 1, true));
    let team = Recipient::Channel("team".parse().unwrap());
    let read = ConversationChange::new().read(ReadMark::new(5, None));
    im.set_conversation(&alice(), team.clone(), read).await.unwrap();
    let page = im.conversations(&alice(), 0, 10).await.unwrap();
    assert_eq!((page.unread, page.unread_more), (u64::from(MAX_UNREAD) + 1, false), "exactly as many");
    let mute = ConversationChange::new().mute(true);
    im.set_conversation(&alice(), team, mute).await.unwrap();
    assert_eq!(im.conversations(&alice(), 0, 10).await.unwrap().unread, 1);
    // The page has a limit, the sum has none.
    let second = im.conversations(&alice(), 1, 1).await.unwrap();
    assert_eq!((second.conversations.len(), second.more, second.unread), (1, true, 1));
}

#[tokio::test]
async fn what_was_said_before_is_not_unread_to_a_new_member() {
    let device = Device::new().await;
    let im = &device.im;
    let say = async || im.send(Message::to(channel("team")).from("bob").text("hi")).await.unwrap();
    say().await;
    let (zoe, unread) = ("zoe".parse::<UserId>().unwrap(), async |user: &UserId| {
        im.conversations(user, 0, 10).await.unwrap().unread
    });
    im.channel("team").add_members(["zoe", ALICE]).await.unwrap();
    assert_eq!((unread(&zoe).await, unread(&alice()).await), (0, 1), "alice was there before");
    say().await;
    im.channel("team").add_members(["zoe", ALICE]).await.unwrap();
    assert_eq!((unread(&zoe).await, unread(&alice()).await), (1, 2), "adding again changes nothing");
    im.channel("team").remove_members(["zoe"]).await.unwrap();
    say().await;
    im.channel("team").add_members(["zoe"]).await.unwrap();
    assert_eq!(unread(&zoe).await, 0, "nor is what was said while zoe was away");
}

#[tokio::test]
async fn changes_are_neither_unread_nor_last_and_mentions_are_listed() {
    let mut device = Device::new().await;
    let page = device.page().await;
    device.load(page);
    let im = device.im.clone();
    let (team, bob) = (Recipient::Channel("team".parse().unwrap()), Recipient::User("bob".parse().unwrap()));
    let hi = im.send(Message::to(channel("team")).from("bob").text("hi")).await.unwrap().message_id;
    let call = Content::text("@alice").mention(alice());
    im.send(Message::to(user(ALICE)).from("bob").content(call)).await.unwrap();
    // More than are looked at first for a last message.
    for _ in 0..300 {
        let pin = Message::to(channel("team")).from("bob").content(Change::pin(hi));
        im.send(pin).await.unwrap();
    }
    im.send(Message::to(user(ALICE)).from("bob").content(Change::recall(hi))).await.unwrap();
    im.send(Message::to(user(ALICE)).from("carol").content(Change::recall(hi))).await.unwrap();

    device.push().await;
    device.deliver_all();
    let of_device: Vec<_> = [&team, &bob].map(|name| device.list.get(name).unwrap()).into();
    device.check("with changes").await;
    let page = im.conversations(&alice(), 0, 10).await.unwrap();
    let names: Vec<_> = page.conversations.iter().map(|listed| listed.state.conversation.clone()).collect();
    assert_eq!(names.len(), 3, "carol has said nothing: {names:?}");
    assert!(!names.contains(&Recipient::User("carol".parse().unwrap())));
    for (name, listed, text, mentions) in
        [(&team, &of_device[0], "hi", vec![]), (&bob, &of_device[1], "@alice", vec![1])]
    {
        let at = names.iter().position(|other| other == name).unwrap();
        let last = page.conversations[at].last.as_ref().unwrap();
        assert_eq!((last.content.as_text(), page.conversations[at].unread), (Some(text), 1));
        let last = listed.last.as_ref().unwrap();
        assert_eq!((last.content.as_text(), listed.unread), (Some(text), 1));
        assert_eq!(listed.mention_seqs, mentions);
    }
    // Also where everything is read, and the newest entries alone would be looked at.
    let end = im.inner.cluster.log().ends(&[log_id("team")]).await.unwrap()[0].last;
    let read = ConversationChange::new().read(ReadMark::new(end, None));
    im.set_conversation(&alice(), team.clone(), read).await.unwrap();
    let page = im.conversations(&alice(), 0, 10).await.unwrap();
    let listed = page.conversations.iter().find(|listed| listed.state.conversation == team).unwrap();
    assert_eq!(
        (listed.unread, listed.last.as_ref().and_then(|last| last.content.as_text())),
        (0, Some("hi"))
    );
}
