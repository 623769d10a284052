//! After a recall or an edit, the former content is gone, in whatever way messages are read.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use async_trait::async_trait;
use futures_util::future::join_all;
use proptest::{collection::vec, prelude::*, sample::Index};

use super::*;
use crate::{
    Conversation, HistoryRange, Search,
    backend::{
        Archiver, Durability, Im, Message, SendError, Target, channel,
        message_store::MemoryMessageStore,
        test_support::hooked_log::{HookedLog, LogHooks},
        user, users,
    },
    cluster::{Cluster, LogBounds, MemoryBus, MemoryLog, MemoryRoutes},
    content::{Change, ChangeKind, Content, Quote},
    id::UserId,
};

fn name(user: &str) -> UserId {
    user.parse().unwrap()
}

/// A backend, its database, and an archiver.
struct World {
    im: Im,
    store: MemoryMessageStore,
    archiver: Archiver,
}

/// The conversation of a message from alice that bob can read.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Place {
    ToBob,
    InTeam,
}

impl Place {
    fn target(self) -> Target {
        match self {
            Self::ToBob => user("bob"),
            Self::InTeam => channel("team"),
        }
    }
}

const PLACES: [Place; 2] = [Place::ToBob, Place::InTeam];

impl World {
    async fn new() -> Self {
        let store = MemoryMessageStore::new();
        let config = Im::builder().message_store(Arc::new(store.clone()));
        let im = config.start(Cluster::embedded()).await.unwrap();
        im.channel("team").add_members(["alice", "bob"]).await.unwrap();
        let archiver = im.start_archiver(Arc::new(store.clone())).unwrap();
        Self { im, store, archiver }
    }

    async fn say(&self, to: Place, content: impl Into<Content>) -> MessageId {
        let message = Message::to(to.target()).from("alice").content(content);
        self.im.send(message.durability(Durability::Archived)).await.unwrap().message_id
    }

    /// Waits until the database has every message sent so far.
    async fn archived(&self) {
        archived(&self.archiver).await;
    }

    /// Returns everything that bob can read in any way, as bytes and texts.
    async fn readable(&self) -> Vec<Vec<u8>> {
        let mut all: Vec<Vec<u8>> = Vec::new();
        let bob = name("bob");
        let logs =
            [LogId::Inbox(name("alice")), LogId::Inbox(bob.clone()), LogId::Channel("team".parse().unwrap())];
        for log in &logs {
            let mut after = 0;
            loop {
                let page = self.im.cluster().log().read(log, after, PAGE).await.unwrap();
                let Some(last) = page.entries.last() else { break };
                after = last.seq;
                all.extend(page.entries.into_iter().map(|entry| entry.payload.to_vec()));
            }
            let query = crate::backend::message_store::StoreQuery::new(HistoryRange::After(0), 10_000);
            let stored =
                crate::backend::message_store::MessageStore::read(&self.store, log, &query).await.unwrap();
            all.extend(stored.entries.into_iter().map(|entry| entry.message.to_vec()));
        }
        for conversation in [
            Conversation::Inbox,
            Conversation::User(name("alice")),
            Conversation::Channel("team".parse().unwrap()),
        ] {
            let page = self.im.history(&bob, &conversation, HistoryRange::After(0), 1000).await.unwrap();
            all.extend(page.messages.into_iter().map(|entry| entry.content.encode()));
            let lines: Vec<String> = self.im.export(&bob, &conversation).try_collect().await.unwrap();
            all.extend(lines.into_iter().map(String::into_bytes));
        }
        let list = self.im.conversations(&bob, 0, 100).await.unwrap();
        let last = list.conversations.into_iter().filter_map(|one| one.last);
        all.extend(last.map(|entry| entry.content.encode()));
        all
    }

    async fn says_anywhere(&self, words: &str) -> bool {
        self.readable()
            .await
            .iter()
            .any(|bytes| bytes.windows(words.len()).any(|part| part == words.as_bytes()))
    }

    async fn is_found(&self, words: &str) -> bool {
        !self.im.search(&name("bob"), &Search::new(words), 10).await.unwrap().messages.is_empty()
    }
}

async fn archived(archiver: &Archiver) {
    loop {
        let lag = archiver.lag().await.unwrap();
        if lag.waiting + lag.unacknowledged == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn what_was_recalled_is_nowhere() {
    let world = World::new().await;
    for (number, to) in PLACES.into_iter().enumerate() {
        let secret = format!("hunter{number}two");
        let id = world.say(to, Content::text(format!("the password is {secret}"))).await;
        world.archived().await;
        assert!(world.says_anywhere(&secret).await && world.is_found(&secret).await);
        world.say(to, Change::recall(id)).await;
        assert!(!world.says_anywhere(&secret).await && !world.is_found(&secret).await);
        world.archived().await;
        assert!(!world.says_anywhere(&secret).await && !world.is_found(&secret).await);
    }
    let page =
        world.im.history(&name("bob"), &Conversation::User(name("alice")), HistoryRange::Newest, 10).await;
    let recalled = page.unwrap().messages.remove(0);
    let amended = recalled.content.amended.as_ref().unwrap();
    assert!(amended.recalled && recalled.content.is_empty());
    assert_eq!((amended.by.as_ref(), recalled.from), (Some(&name("alice")), Some(name("alice"))));
}

#[tokio::test]
async fn what_was_edited_says_what_the_last_edit_says() {
    let world = World::new().await;
    for to in PLACES {
        let id = world.say(to, "first words").await;
        world.say(to, Change::edit(id, "second words")).await;
        assert!(!world.says_anywhere("first words").await);
        world.say(to, Change::edit(id, "third words")).await;
        world.archived().await;
        assert!(!world.says_anywhere("first words").await && !world.says_anywhere("second words").await);
        assert!(world.says_anywhere("third words").await && world.is_found("third").await);
        world.say(to, Change::recall(id)).await;
        world.archived().await;
        assert!(!world.says_anywhere("third words").await && !world.is_found("third").await);
    }
}

#[tokio::test]
async fn quotes_say_no_more_than_the_message() {
    let world = World::new().await;
    for to in PLACES {
        let id = world.say(to, "the old words").await;
        let quoting = |text: &str| {
            let quote = Quote::new(id, Some(name("alice")), &Content::text("the old words"));
            Content::text(text).quote(quote)
        };
        world.say(to, quoting("an answer")).await;
        let other = world.say(to, "something else").await;
        world.say(to, Change::edit(other, quoting("an edited answer"))).await;
        world.say(to, Change::edit(id, "the new words")).await;
        world.archived().await;
        assert!(!world.says_anywhere("the old words").await);
        assert!(world.says_anywhere("an answer").await && world.says_anywhere("an edited answer").await);
        world.say(to, Change::recall(id)).await;
        world.archived().await;
        assert!(!world.says_anywhere("the new words").await);
        assert!(world.says_anywhere("an answer").await && world.says_anywhere("an edited answer").await);
    }
}

#[tokio::test]
async fn what_is_no_longer_in_the_log_goes_from_the_store() {
    let log = Arc::new(MemoryLog::new(LogBounds { max_entries: 3, ..LogBounds::default() }));
    let store = Arc::new(MemoryMessageStore::new());
    let archive = Arc::new(crate::cluster::MemoryArchiveQueue::new(crate::cluster::ArchiveConfig::default()));
    let cluster = Cluster::new(Arc::new(MemoryRoutes::new()), Arc::new(MemoryBus::new()), log);
    let config = Im::builder().message_store(store.clone());
    let im = config.start(cluster.with_archive(archive)).await.unwrap();
    let archiver = im.start_archiver(store).unwrap();
    let say = async |content: Content| {
        let message = Message::to(user("bob")).from("alice").content(content);
        im.send(message.durability(Durability::Archived)).await.unwrap().message_id
    };
    let id = say("hunter2".into()).await;
    for number in 0..9 {
        say(format!("message {number}").into()).await;
    }
    say(Change::recall(id).into()).await;
    archived(&archiver).await;
    let page = im.raw_history(&name("bob"), &Conversation::Inbox, HistoryRange::After(0), 100).await.unwrap();
    assert_eq!((page.messages.len(), page.messages[0].message_id), (11, id));
    assert!(page.messages[0].content.is_empty(), "{:?}", page.messages[0]);
}

/// The number of times that replacing an entry still fails.
#[derive(Debug)]
struct Refusals(AtomicUsize);

#[async_trait]
impl LogHooks for Refusals {
    async fn before_read(&self) {
        tokio::task::yield_now().await;
    }

    async fn before_replace(&self) -> Result<(), LogError> {
        tokio::task::yield_now().await;
        let refuses = self.0.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        if refuses.is_ok() {
            let source = Arc::new(std::io::Error::other("not now"));
            return Err(LogError::Unavailable { action: "replace an entry", source });
        }
        Ok(())
    }
}

async fn stubborn(refusals: usize) -> (Im, Arc<HookedLog<Refusals>>) {
    let hooks = Refusals(AtomicUsize::new(refusals));
    let (log, cluster) = HookedLog::cluster(LogBounds::default(), hooks);
    (Im::with_cluster(cluster).await.unwrap(), log)
}

/// Returns the index of the last of these changes, by their rank in the logs.
async fn last_made(im: &Im, changes: &[MessageId]) -> usize {
    let page = im.raw_history(&name("bob"), Conversation::Inbox, HistoryRange::After(0), 1000).await.unwrap();
    let rank = |id: &MessageId| {
        let entry = page.messages.iter().find(|entry| entry.message_id == *id).unwrap();
        (entry.content.as_change().unwrap().order, *id)
    };
    changes.iter().enumerate().max_by_key(|(_, id)| rank(id)).unwrap().0
}

async fn texts(im: &Im, user: &str) -> Vec<Option<String>> {
    let page = im.raw_history(&name(user), &Conversation::Inbox, HistoryRange::After(0), 1000).await.unwrap();
    page.messages.into_iter().map(|entry| entry.content.as_text().map(str::to_owned)).collect()
}

#[tokio::test]
async fn a_retry_finishes_what_failed() {
    for refusals in 1..=2 {
        let (im, _) = stubborn(refusals).await;
        let id = im.send(Message::to(user("bob")).from("alice").text("hunter2")).await.unwrap().message_id;
        let recall = || {
            let message = Message::to(user("bob")).from("alice").content(Change::recall(id));
            im.send(message.idempotency_key("recall"))
        };
        let mut failures = 0;
        loop {
            match recall().await {
                Ok(receipt) => break assert!(receipt.repeated),
                Err(error) => assert!(matches!(error, SendError::NotAmended { .. }), "{error}"),
            }
            failures += 1;
        }
        assert!(failures > 0);
        for user in ["alice", "bob"] {
            assert_eq!(texts(&im, user).await, [None, None], "one recall, and nothing else");
        }
    }
}

#[tokio::test]
async fn whoever_reads_finishes_what_was_left_undone() {
    let (im, log) = stubborn(1).await;
    let id = im.send(Message::to(channel("team")).from("alice").text("hunter2")).await.unwrap().message_id;
    let left = im.change(channel("team"), Change::recall(id)).await;
    assert!(matches!(left, Err(SendError::NotAmended { .. })), "{left:?}");
    let team = LogId::Channel("team".parse().unwrap());
    let says = async || {
        let page = log.log.read(&team, 0, ReadLimit::new(1)).await.unwrap();
        page.entries[0].payload.windows(7).any(|part| part == b"hunter2")
    };
    assert!(says().await);
    let conversation = Conversation::Channel("team".parse().unwrap());
    let page = im.raw_history(&name("bob"), &conversation, HistoryRange::Newest, 10).await.unwrap();
    assert!(page.messages[0].content.is_empty(), "the page is right at once: {page:?}");
    while says().await {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_changes_at_the_same_time_the_right_one_is_left() {
    for round in 0..40 {
        let (im, _) = stubborn(0).await;
        let id =
            im.send(Message::to(user("bob")).from("alice").text("the original")).await.unwrap().message_id;
        let with_recall = round % 2 == 0;
        let changes = (0..8).map(|number| {
            let recalls = with_recall && number == round / 2 % 8;
            let kind = if recalls {
                ChangeKind::Recall
            } else {
                ChangeKind::Edit(Box::new(format!("edit {number}").into()))
            };
            let im = im.clone();
            tokio::spawn(async move {
                im.change(users(["alice", "bob"]), Change::new(id, kind)).await.unwrap().message_id
            })
        });
        let ids: Vec<MessageId> = join_all(changes).await.into_iter().map(Result::unwrap).collect();
        let last = last_made(&im, &ids).await;
        for user in ["alice", "bob"] {
            let texts = texts(&im, user).await;
            let expected = (!with_recall).then(|| format!("edit {last}"));
            assert_eq!(texts[0], expected, "round {round}, {user}");
            let page =
                im.raw_history(&name(user), &Conversation::Inbox, HistoryRange::After(1), 100).await.unwrap();
            let left: Vec<String> = page
                .messages
                .iter()
                .filter_map(|entry| match &entry.content.as_change()?.kind {
                    ChangeKind::Edit(content) => content.as_text().map(str::to_owned),
                    _ => None,
                })
                .collect();
            assert_eq!(
                left,
                expected.into_iter().collect::<Vec<_>>(),
                "round {round}: what does not count says nothing"
            );
        }
    }
}

/// An action of alice.
#[derive(Clone, Debug)]
enum Act {
    Say { in_channel: bool },
    Quote(Index),
    Edit(Index),
    Recall(Index),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        2 => any::<bool>().prop_map(|in_channel| Act::Say { in_channel }),
        2 => any::<Index>().prop_map(Act::Quote),
        3 => any::<Index>().prop_map(Act::Edit),
        1 => any::<Index>().prop_map(Act::Recall),
    ]
}

/// A message: its conversation, its id and its present text.
struct Said {
    to: Place,
    id: MessageId,
    says: Option<String>,
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn no_words_are_left_that_were_taken_back(acts in vec(act(), 1..24)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let world = World::new().await;
            let (mut said, mut gone): (Vec<Said>, Vec<String>) = (Vec::new(), Vec::new());
            for (turn, act) in acts.iter().enumerate() {
                let words = format!("words-of-turn-{turn:03}");
                let chosen = |index: &Index| index.index(said.len());
                match act {
                    Act::Quote(index) if !said.is_empty() => {
                        let quoted = &said[chosen(index)];
                        let (to, id) = (quoted.to, quoted.id);
                        let mut quote = Quote::new(id, Some(name("alice")), &Content::default());
                        quote.excerpt = quoted.says.clone().unwrap_or_default();
                        let id = world.say(to, Content::text(&*words).quote(quote)).await;
                        said.push(Said { to, id, says: Some(words) });
                    }
                    Act::Edit(index) if !said.is_empty() => {
                        let index = chosen(index);
                        let (to, id) = (said[index].to, said[index].id);
                        world.say(to, Change::edit(id, &*words)).await;
                        match said[index].says.replace(words.clone()) {
                            Some(before) => gone.push(before),
                            None => {
                                said[index].says = None;
                                gone.push(words);
                            }
                        }
                    }
                    Act::Recall(index) if !said.is_empty() => {
                        let index = chosen(index);
                        let (to, id) = (said[index].to, said[index].id);
                        world.say(to, Change::recall(id)).await;
                        gone.extend(said[index].says.take());
                    }
                    Act::Say { in_channel } => {
                        let to = PLACES[usize::from(*in_channel)];
                        let id = world.say(to, &*words).await;
                        said.push(Said { to, id, says: Some(words) });
                    }
                    _ => {}
                }
            }
            let readable = world.readable().await;
            world.archived().await;
            for readable in [readable, world.readable().await] {
                let has = |words: &str| {
                    readable.iter().any(|bytes| bytes.windows(words.len()).any(|part| part == words.as_bytes()))
                };
                for words in &gone {
                    assert!(!has(words), "{words} was taken back: {acts:?}");
                }
                for said in &said {
                    assert!(said.says.as_deref().is_none_or(has), "{:?} is lost: {acts:?}", said.says);
                }
            }
            for words in &gone {
                assert!(!world.is_found(words).await, "{words} is found: {acts:?}");
            }
        });
    }
}
