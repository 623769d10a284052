//! However a conversation is read, it shows the same messages.
//!
//! Random messages, edits, recalls, deletions, reactions, pins and quotes go through two backends whose clocks are three minutes
//! apart. The expected view is computed separately, from the order of the actions.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use futures_util::TryStreamExt as _;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng, seq::SliceRandom as _};

use super::*;
use crate::{
    Search,
    backend::{Archiver, Durability, Im, channel},
    cluster::{Clock, Routes as _, SetClocks},
    content::{Change, ChangeKind, Quote},
    timeline::{Entry as Shown, ShownMessage},
};

const NOW: u64 = 1_800_000_000_000;
const SKEW_MS: u64 = 180_000;
const USERS: [&str; 3] = ["alice", "bob", "carol"];
const EMOJIS: [&str; 2] = ["x", "y"];
const ACTS: usize = 60;

fn name(user: &str) -> UserId {
    user.parse().unwrap()
}

/// Two backends on one log, one archive and one database.
struct World {
    ims: [Im; 2],
    clocks: [Arc<SetClocks>; 2],
    archiver: Archiver,
}

impl World {
    async fn new() -> Self {
        let (cluster, store) = (Cluster::embedded(), MemoryMessageStore::new());
        let mut ims = Vec::new();
        let mut clocks = Vec::new();
        for (number, time) in [NOW, NOW + SKEW_MS].into_iter().enumerate() {
            let (routes, local) = (Arc::new(MemoryRoutes::new()), SetClocks::at(time));
            routes.set_time(time);
            // Each has its own node number, so that ids differ.
            for other in 0..number {
                let owner = format!("be-{other}");
                routes.lease_node(&owner, Duration::from_secs(3600), time).await.unwrap().unwrap();
            }
            let clock = Clock::with_local(routes.clone(), local.clone());
            let config =
                Im::builder().message_store(Arc::new(store.clone())).default_durability(Durability::Archived);
            ims.push(config.start(cluster.clone().with_routes(routes, clock)).await.unwrap());
            clocks.push(local);
        }
        ims[0].channel("team").add_members(USERS).await.unwrap();
        let archiver = ims[0].start_archiver(Arc::new(store)).unwrap();
        let (Ok(ims), Ok(clocks)) = (ims.try_into(), clocks.try_into()) else { panic!("two backends") };
        Self { ims, clocks, archiver }
    }

    async fn archived(&self) {
        loop {
            let lag = self.archiver.lag().await.unwrap();
            if lag.waiting + lag.unacknowledged == 0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

/// The conversation of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Between alice and bob.
    Pair,
    Team,
}

impl Place {
    fn conversation(self, user: &str) -> Conversation {
        match self {
            Self::Pair => Conversation::User(name(if user == "alice" { "bob" } else { "alice" })),
            Self::Team => Conversation::Channel("team".parse().unwrap()),
        }
    }

    fn log(self, user: &str) -> LogId {
        place_of(&name(user), &self.conversation(user)).0
    }

    fn users(self) -> &'static [&'static str] {
        if self == Self::Pair { &USERS[..2] } else { &USERS }
    }

    fn message(self, from: &str) -> Message {
        match self {
            Self::Pair => Message::to(user(if from == "alice" { "bob" } else { "alice" })).from(from),
            Self::Team => Message::to(channel("team")).from(from),
        }
    }
}

/// The visible parts of a message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Look {
    id: u64,
    from: String,
    /// `None` if it was recalled.
    text: Option<String>,
    edited: bool,
    pinned: bool,
    reactions: BTreeSet<(String, String)>,
    /// The quoted message and its visible text; the text is `None` if it was recalled.
    quote: Option<(u64, Option<String>)>,
}

impl Look {
    fn of(message: &ShownMessage) -> Self {
        let name = |user: Option<&UserId>| user.map(ToString::to_string).unwrap_or_default();
        let reactions = message.reactions();
        let pairs = reactions.iter().flat_map(|reaction| {
            reaction.users.iter().map(move |user| (reaction.emoji.to_owned(), name(*user)))
        });
        let (text, quote) = parts(message.content());
        Self {
            id: message.id().as_u64(),
            from: name(message.from()),
            text: text.filter(|_| message.recalled().is_none()),
            edited: message.is_edited(),
            pinned: message.is_pinned(),
            reactions: pairs.collect(),
            quote,
        }
    }

    /// Returns the parts that a page of search or an export has.
    fn plain(&self) -> Self {
        Self { pinned: false, edited: false, reactions: BTreeSet::new(), ..self.clone() }
    }

    fn of_entry(entry: &LoggedMessage) -> Self {
        let (text, quote) = parts(Some(&entry.content));
        let from = entry.from.as_ref().map(ToString::to_string).unwrap_or_default();
        Self { id: entry.message_id.as_u64(), from, text, quote, ..Self::default() }
    }
}

type QuoteLook = Option<(u64, Option<String>)>;

fn parts(content: Option<&Content>) -> (Option<String>, QuoteLook) {
    let text = content.and_then(Content::as_text).map(ToOwned::to_owned);
    let quote = content.and_then(|content| content.quote.as_deref());
    let says = |quote: &Quote| Some(quote.excerpt.clone()).filter(|_| !quote.recalled);
    (text, quote.map(|quote| (quote.message_id.as_u64(), says(quote))))
}

/// The messages in the order of sending, and the users who have deleted each.
#[derive(Default)]
struct Model {
    said: Vec<(Place, Look, BTreeSet<&'static str>)>,
    /// Texts that must not be found any more.
    gone: Vec<String>,
}

impl Model {
    fn seen(&self, place: Place, user: &str) -> Vec<Look> {
        let seen = self.said.iter().filter(|(at, _, deleted)| *at == place && !deleted.contains(user));
        seen.map(|(_, look, _)| look.clone()).collect()
    }

    fn change_text(&mut self, id: u64, text: Option<&str>) {
        for (_, look, _) in &mut self.said {
            if look.id == id {
                self.gone.extend(look.text.take());
                look.text = text.map(ToOwned::to_owned);
            }
            if let Some((_, says)) = look.quote.as_mut().filter(|(quoted, _)| *quoted == id) {
                *says = text.map(ToOwned::to_owned);
            }
        }
    }
}

async fn act(world: &World, model: &mut Model, rng: &mut StdRng, turn: usize) {
    world.clocks.iter().for_each(|clock| clock.pass(rng.random_range(0..3)));
    let im = &world.ims[rng.random_range(0..2)];
    let kind = rng.random_range(0..10);
    let text = format!("words{turn}end");
    if kind < 3 || model.said.is_empty() {
        let place = if rng.random_bool(0.5) { Place::Pair } else { Place::Team };
        let from = place.users()[rng.random_range(0..place.users().len())];
        let mut content = Content::text(&text);
        let quotable = model.said.iter().filter(|(at, look, _)| *at == place && look.text.is_some());
        let quotable: Vec<_> = quotable.map(|(_, look, _)| look.clone()).collect();
        let mut quote = None;
        if !quotable.is_empty() && rng.random_bool(0.5) {
            let quoted = &quotable[rng.random_range(0..quotable.len())];
            let id = MessageId::from_u64(quoted.id).unwrap();
            content = content.quote(Quote::new(id, None, &Content::text(quoted.text.clone().unwrap())));
            quote = Some((quoted.id, quoted.text.clone()));
        }
        let id = im.send(place.message(from).content(content)).await.unwrap().message_id.as_u64();
        let look = Look { id, from: from.to_owned(), text: Some(text), quote, ..Look::default() };
        model.said.push((place, look, BTreeSet::new()));
        return;
    }
    let index = rng.random_range(0..model.said.len());
    let (place, look, _) = model.said[index].clone();
    let by = place.users()[rng.random_range(0..place.users().len())];
    let author = USERS.into_iter().find(|user| *user == look.from).unwrap();
    let id = MessageId::from_u64(look.id).unwrap();
    let emoji = EMOJIS[rng.random_range(0..2)];
    let is_there = look.text.is_some();
    match kind {
        3 | 4 => {
            im.send(place.message(author).content(Change::edit(id, text.as_str()))).await.unwrap();
            if is_there {
                model.change_text(look.id, Some(&text));
                let look = &mut model.said[index].1;
                (look.edited, look.quote) = (true, None);
            } else {
                model.gone.push(text);
            }
        }
        5 if rng.random_bool(0.5) => {
            im.send(place.message(author).content(Change::recall(id))).await.unwrap();
            model.change_text(look.id, None);
            let look = &mut model.said[index].1;
            *look = Look { id: look.id, from: look.from.clone(), ..Look::default() };
        }
        6 if rng.random_bool(0.5) => {
            let mut change = Change::delete_for_me(id);
            change.channel = (place == Place::Team).then(|| "team".parse().unwrap());
            im.send(Message::to(user(by)).from(by).content(change)).await.unwrap();
            model.said[index].2.insert(by);
        }
        7 | 8 => {
            let there = (emoji.to_owned(), by.to_owned());
            let is_back = look.reactions.contains(&there);
            let change = if is_back { Change::unreact(id, emoji) } else { Change::react(id, emoji) };
            im.send(place.message(by).content(change)).await.unwrap();
            let reactions = &mut model.said[index].1.reactions;
            if is_there && is_back {
                reactions.remove(&there);
            } else if is_there {
                reactions.insert(there);
            }
        }
        _ => {
            let removed = look.pinned;
            let change = Change::new(id, ChangeKind::Pin { removed });
            im.send(place.message(by).content(change)).await.unwrap();
            model.said[index].1.pinned = is_there && !removed;
        }
    }
}

/// Reads all pages of history, in the order of the log.
async fn pages(im: &Im, user: &str, place: Place, forward: bool, size: usize) -> Vec<Look> {
    let (me, conversation) = (name(user), place.conversation(user));
    let mut range = if forward { After(0) } else { Newest };
    let mut all: Vec<Look> = Vec::new();
    loop {
        let page = im.history(&me, &conversation, range, size).await.unwrap();
        let timeline = page.timeline(me.clone());
        let looks: Vec<Look> = timeline.messages().map(Look::of).collect();
        assert_eq!(looks.len(), page.messages.len());
        if forward {
            all.extend(looks);
        } else {
            all.splice(..0, looks);
        }
        let Some(next) = page.next else { return all };
        range = next;
    }
}

/// Returns the view of a device that has all entries of the logs, in this order.
fn device(entries: &[(LogId, LoggedMessage)], user: &str, place: Place) -> Vec<Look> {
    let mut timeline = Timeline::new(name(user));
    entries.iter().for_each(|(_, entry)| _ = timeline.apply(entry));
    let wanted = place.log(user);
    let ids: BTreeSet<u64> = entries
        .iter()
        .filter(|(log, entry)| {
            let other = if user == "alice" { "bob" } else { "alice" };
            let is_theirs = || {
                let (from, to) = (entry.from.as_ref(), entry.to.as_ref());
                [from, to].into_iter().flatten().any(|user| user.as_str() == other)
            };
            *log == wanted && (place == Place::Team || is_theirs())
        })
        .map(|(_, entry)| entry.message_id.as_u64())
        .collect();
    let shown = timeline.messages().filter(|message| !message.is_deleted());
    shown.map(Look::of).filter(|look| ids.contains(&look.id)).collect()
}

async fn entries(im: &Im, user: &str) -> Vec<(LogId, LoggedMessage)> {
    let mut all = Vec::new();
    for log in [LogId::Inbox(name(user)), LogId::Channel("team".parse().unwrap())] {
        let page =
            im.cluster().log().read(&log, 0, ReadLimit::new(10_000).with_bytes(1 << 30)).await.unwrap();
        let entries = page
            .entries
            .into_iter()
            .map(|entry| (log.clone(), LoggedMessage::of(channel_of(&log), RawEntry::from(entry))));
        all.extend(entries);
    }
    all
}

async fn check(world: &World, model: &Model, rng: &mut StdRng) {
    world.archived().await;
    for place in [Place::Pair, Place::Team] {
        for user in place.users() {
            let expected = model.seen(place, user);
            let plain: Vec<Look> = expected.iter().map(Look::plain).collect();
            let (me, conversation) = (name(user), place.conversation(user));
            for im in &world.ims {
                for forward in [false, true] {
                    let size = rng.random_range(1..8);
                    let read = pages(im, user, place, forward, size).await;
                    assert_eq!(read, expected, "history of {user}, forward: {forward}, {size} to a page");
                }
                let mut logged = entries(im, user).await;
                assert_eq!(device(&logged, user, place), expected, "{user}'s device");
                logged.shuffle(rng);
                assert_eq!(device(&logged, user, place), expected, "{user}'s device, in any order");
                let lines: Vec<String> = im.export(&me, &conversation).try_collect().await.unwrap();
                let told: Vec<(u64, Option<String>)> = lines
                    .iter()
                    .map(|line| {
                        let line: serde_json::Value = serde_json::from_str(line).unwrap();
                        let text = line["content"]["text"].as_str().map(ToOwned::to_owned);
                        (line["id"].as_str().unwrap().parse().unwrap(), text)
                    })
                    .collect();
                // An export gives a message with a quote in encoded form: only texts without one are
                // compared.
                for (look, (id, text)) in plain.iter().zip(&told) {
                    assert_eq!(look.id, *id, "export of {user}");
                    assert!(text.is_none() || *text == look.text, "export of {user}");
                }
                assert_eq!(told.len(), plain.len(), "export of {user}");
                for look in &plain {
                    let id = MessageId::from_u64(look.id).unwrap();
                    assert_eq!(Look::of_entry(&im.message(id).await.unwrap()), *look, "by id");
                    let recipient = match &conversation {
                        Conversation::User(other) => Recipient::from(other.clone()),
                        Conversation::Channel(channel) => Recipient::from(channel.clone()),
                        Conversation::Inbox => panic!("no conversation"),
                    };
                    let found = im.message_in(&me, recipient, id).await.unwrap();
                    assert_eq!(Look::of_entry(&found), *look, "in the conversation");
                }
                let list = im.conversations(&me, 0, 10).await.unwrap().conversations;
                let last =
                    list.iter().find(|one| Conversation::from(&one.state.conversation) == conversation);
                let last = last.and_then(|one| one.last.as_ref()).map(Look::of_entry);
                assert_eq!(last.as_ref(), plain.last(), "the list of {user}");
            }
            let mut says: BTreeMap<&str, u64> = BTreeMap::new();
            says.extend(plain.iter().filter_map(|look| Some((look.text.as_deref()?, look.id))));
            let search = async |text: &str| {
                let mut search = Search::new(text);
                search.conversation = Some(conversation.clone());
                let found = world.ims[0].search(&me, &search, 10).await.unwrap().messages;
                found.into_iter().map(|found| Look::of_entry(&found)).collect::<Vec<Look>>()
            };
            for look in plain.iter().filter(|look| look.text.is_some()) {
                let found = search(look.text.as_deref().unwrap()).await;
                assert_eq!(found, std::slice::from_ref(look), "search by {user}");
            }
            for text in &model.gone {
                assert_eq!(search(text).await, [], "{user} finds {text}, which is gone");
            }
        }
    }
}

#[tokio::test]
async fn every_way_to_read_shows_the_same() {
    let seed: u64 = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    for seed in seed..seed + 6 {
        // Printed if the test fails.
        println!("SEED={seed}");
        let mut rng = StdRng::seed_from_u64(seed);
        let (world, mut model) = (World::new().await, Model::default());
        for turn in 0..ACTS {
            act(&world, &mut model, &mut rng, turn).await;
            if turn % 20 == 19 {
                check(&world, &model, &mut rng).await;
            }
        }
    }
}

/// A device that has entries without their seqs still shows them by the times in their ids.
#[test]
fn entries_without_places_are_in_the_order_of_their_ids() {
    let mut timeline = Timeline::new(name("bob"));
    for number in [3, 1, 2] {
        timeline.apply(Shown::new(MessageId::from_u64(number).unwrap(), None, &Content::text("hi")));
    }
    assert!(timeline.messages().map(|message| message.id().as_u64()).eq(1..=3));
}
