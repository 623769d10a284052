//! Property tests of convergence: whatever the order and repetition, all devices end in the same,
//! correct state.

use std::collections::BTreeSet;

use proptest::{collection::vec, prelude::*, sample::Index};

use super::*;
use crate::content::Change;

const USERS: [&str; 3] = ["alice", "bob", "carol"];
const EMOJIS: [&str; 2] = ["👍", "🎉"];

/// An entry of logs: its message id, sender and content.
#[derive(Clone, Debug)]
struct Logged {
    id: MessageId,
    from: Option<UserId>,
    content: Content,
}

impl<'a> From<&'a Logged> for Entry<'a> {
    fn from(logged: &'a Logged) -> Self {
        Self::new(logged.id, logged.from.as_ref(), &logged.content)
    }
}

fn user(index: usize) -> UserId {
    UserId::parse(USERS[index % USERS.len()]).unwrap()
}

fn id(number: u64) -> MessageId {
    MessageId::from_u64(number).unwrap()
}

/// An action of a user, in the channel that all three are in, or between the first two.
#[derive(Clone, Debug)]
struct Act {
    by: usize,
    by_back_end: bool,
    in_channel: bool,
    /// 0 to 2: a message. Otherwise: a change.
    what: u8,
    message: Index,
    emoji: usize,
    /// The clock error of the backend that takes it.
    skew: u64,
    /// The delay in each log, relative to others at the same time.
    late: [usize; 4],
}

fn act() -> impl Strategy<Value = Act> {
    let numbers = (0..3_usize, prop::bool::weighted(0.1), any::<bool>(), 0..12_u8, 0..2_usize, 0..8_u64);
    (numbers, any::<Index>(), any::<[u8; 4]>()).prop_map(
        |((by, by_back_end, in_channel, what, emoji, skew), message, late)| {
            let late = late.map(|late| usize::from(late % 4));
            Act { by, by_back_end, in_channel, what, message, emoji, skew, late }
        },
    )
}

/// The logs: three inboxes and the channel.
type Logs = [Vec<Logged>; 4];
const CHANNEL: usize = 3;

/// Performs actions. The logs may take concurrent ones in different order.
fn history(acts: &[Act]) -> Logs {
    let mut logs: [Vec<(usize, Logged)>; 4] = Default::default();
    let mut said: Vec<(MessageId, bool)> = Vec::new();
    for (turn, act) in acts.iter().enumerate() {
        // Unique, and not in the order of events.
        let id = id(((turn as u64 + act.skew) << 16) + turn as u64 + 1);
        let target = (!said.is_empty() && act.what > 2).then(|| *act.message.get(&said));
        let in_channel = target.map_or(act.in_channel, |(_, in_channel)| in_channel);
        let by = if in_channel { act.by } else { act.by % 2 };
        let from = (!act.by_back_end).then(|| user(by));
        let content = match target {
            None => {
                said.push((id, in_channel));
                Content::text(format!("said in turn {turn}"))
            }
            Some((message, _)) => change(act, message, turn).into(),
        };
        let is_for_me = matches!(content.as_change(), Some(Change { kind: ChangeKind::DeleteForMe, .. }));
        let into: &[usize] = match (is_for_me, in_channel) {
            (true, _) => &[by],
            (false, true) => &[CHANNEL],
            (false, false) => &[0, 1],
        };
        for log in into {
            let logged = Logged { id, from: from.clone(), content: content.clone() };
            logs[*log].push((turn + act.late[*log], logged));
        }
    }
    logs.map(|mut log| {
        log.sort_by_key(|(at, _)| *at);
        log.into_iter().map(|(_, logged)| logged).collect()
    })
}

fn change(act: &Act, message: MessageId, turn: usize) -> Change {
    match act.what {
        3 => Change::recall(message),
        4 | 5 => Change::edit(message, format!("edited in turn {turn}")),
        6 => Change::delete_for_me(message),
        7 | 8 => Change::react(message, EMOJIS[act.emoji]),
        9 => Change::unreact(message, EMOJIS[act.emoji]),
        10 => Change::pin(message),
        _ => Change::unpin(message),
    }
}

/// A step by which a device learns of its two logs.
#[derive(Clone, Debug)]
enum Step {
    /// The next entry, live or by a sync.
    Next(usize),
    /// A restart from the last acknowledgement.
    Again(usize),
    /// A page of history from anywhere, forward.
    Page(Index, usize),
    /// A page from the current end backwards, as an application scrolls.
    Back(Index, usize),
}

fn steps() -> impl Strategy<Value = Vec<(bool, Step)>> {
    let step = prop_oneof![
        3 => (0..6_usize).prop_map(Step::Next),
        1 => (0..6_usize).prop_map(Step::Again),
        1 => (any::<Index>(), 0..6_usize).prop_map(|(from, count)| Step::Page(from, count)),
        1 => (any::<Index>(), 0..6_usize).prop_map(|(from, count)| Step::Back(from, count)),
    ];
    vec((any::<bool>(), step), 0..24)
}

/// Returns the state of a user's device after it has seen everything.
fn device(mut timeline: Timeline, logs: &Logs, owner: usize, steps: &[(bool, Step)]) -> Timeline {
    let followed = [&logs[owner], &logs[CHANNEL]];
    let mut next = [0, 0];
    for (of_channel, step) in steps {
        let which = usize::from(*of_channel);
        let log = followed[which];
        let slice = |from: usize, count: usize| &log[from.min(log.len())..(from + count).min(log.len())];
        match step {
            Step::Next(count) => {
                show(&mut timeline, slice(next[which], *count));
                next[which] = (next[which] + count).min(log.len());
            }
            Step::Again(count) => next[which] = next[which].saturating_sub(*count),
            Step::Page(from, count) => show(&mut timeline, slice(from.index(log.len() + 1), *count)),
            Step::Back(from, count) => {
                let page = slice(from.index(log.len() + 1), *count);
                page.iter().rev().for_each(|entry| _ = timeline.apply(entry));
            }
        }
    }
    for (which, log) in followed.into_iter().enumerate() {
        show(&mut timeline, &log[next[which]..]);
    }
    timeline
}

fn show(timeline: &mut Timeline, entries: &[Logged]) {
    for entry in entries {
        let (before, target) = (timeline.clone(), entry.content.as_change().map(|change| change.message_id));
        let changed = timeline.apply(entry);
        // The returned message is the one that looks different.
        let id = target.unwrap_or(entry.id);
        let looks_different = before.get(id).map(Look::of) != timeline.get(id).map(Look::of);
        assert!(!looks_different || changed == Some(id), "{entry:?}");
    }
}

/// The look of a message.
#[derive(Clone, Debug, Default, PartialEq)]
struct Look {
    from: Option<UserId>,
    content: Option<Content>,
    edited: bool,
    recalled: Option<(MessageId, Option<UserId>)>,
    deleted: bool,
    pinned: bool,
    reactions: BTreeMap<String, BTreeSet<Option<UserId>>>,
}

impl Look {
    fn of(message: &ShownMessage) -> Self {
        let users =
            |reaction: Reaction<'_>| reaction.users.into_iter().map(Option::<&UserId>::cloned).collect();
        let reactions = message.reactions().into_iter();
        Self {
            from: message.from().cloned(),
            content: message.content().cloned(),
            edited: message.is_edited(),
            recalled: message.recalled().map(|recalled| (recalled.change, recalled.by.clone())),
            deleted: message.is_deleted(),
            pinned: message.is_pinned(),
            reactions: reactions.map(|reaction| (reaction.emoji.to_owned(), users(reaction))).collect(),
        }
    }
}

fn looks(timeline: &Timeline) -> BTreeMap<MessageId, Look> {
    timeline.messages().map(|message| (message.id(), Look::of(message))).collect()
}

/// Computes the expected result in another way: all entries at once, sorted.
fn expected(logs: &Logs, owner: usize) -> BTreeMap<MessageId, Look> {
    let mut all: Vec<&Logged> = logs[owner].iter().chain(&logs[CHANNEL]).collect();
    all.sort_by_key(|entry| entry.id);
    let messages = all.iter().filter(|entry| entry.content.as_change().is_none());
    messages.map(|message| (message.id, expected_look(message, &all, owner))).collect()
}

fn expected_look(message: &Logged, sorted: &[&Logged], owner: usize) -> Look {
    let mut look =
        Look { from: message.from.clone(), content: Some(message.content.clone()), ..Look::default() };
    for entry in sorted {
        let Some(change) = entry.content.as_change().filter(|change| change.message_id == message.id) else {
            continue;
        };
        match &change.kind {
            ChangeKind::Recall => {
                look.recalled.get_or_insert((entry.id, entry.from.clone()));
            }
            ChangeKind::Edit(content) => {
                look.content = Some((**content).clone());
                look.edited = true;
            }
            ChangeKind::DeleteForMe => {
                look.deleted |= entry.from.as_ref().is_none_or(|from| *from == user(owner));
            }
            ChangeKind::Reaction { emoji, removed: false } => {
                look.reactions.entry(emoji.clone()).or_default().insert(entry.from.clone());
            }
            ChangeKind::Reaction { emoji, removed: true } => {
                look.reactions.entry(emoji.clone()).or_default().remove(&entry.from);
            }
            ChangeKind::Pin { removed } => look.pinned = !removed,
            ChangeKind::Unknown => {}
        }
    }
    look.reactions.retain(|_, users| !users.is_empty());
    if look.recalled.is_some() || look.deleted {
        let Look { from, recalled, deleted, .. } = look;
        return Look { from, recalled, deleted, ..Look::default() };
    }
    look
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn devices_converge(acts in vec(act(), 0..40), first in steps(), second in steps()) {
        let logs = history(&acts);
        let mut of_users = Vec::new();
        for owner in 0..USERS.len() {
            let [one, other] = [&first, &second]
                .map(|steps| device(Timeline::new(user(owner)), &logs, owner, steps));
            prop_assert_eq!(&one, &other, "two devices of one user");
            prop_assert_eq!(looks(&one), expected(&logs, owner));
            prop_assert_eq!(one.waiting(), 0, "all messages have come");
            of_users.push(looks(&one));
        }
        // Users agree on the messages that they both see.
        for (one, other) in [(0, 1), (1, 2), (0, 2)] {
            for (id, look) in &of_users[one] {
                if let Some(seen) = of_users[other].get(id).filter(|seen| !seen.deleted && !look.deleted) {
                    prop_assert_eq!(seen, look);
                }
            }
        }
    }

    #[test]
    fn any_order_and_any_repetition(
        acts in vec(act(), 0..30),
        seed in any::<u64>(),
        repeated in vec(any::<Index>(), 0..20),
    ) {
        let logs = history(&acts);
        let all: Vec<&Logged> = logs[0].iter().chain(&logs[CHANNEL]).collect();
        let mut straight = Timeline::new(user(0));
        all.iter().for_each(|entry| _ = straight.apply(*entry));
        let mut mixed = all.clone();
        if !all.is_empty() {
            mixed.extend(repeated.iter().map(|index| *index.get(&all)));
        }
        let mut rng = <rand::rngs::StdRng as rand::SeedableRng>::seed_from_u64(seed);
        rand::seq::SliceRandom::shuffle(&mut mixed[..], &mut rng);
        let mut timeline = Timeline::new(user(0));
        mixed.iter().for_each(|entry| _ = timeline.apply(*entry));
        prop_assert_eq!(&timeline, &straight);
        // Repeating them changes nothing and reports nothing.
        prop_assert!(mixed.iter().all(|entry| timeline.apply(*entry).is_none()));
        prop_assert_eq!(timeline, straight);
    }

    /// With room for only a few waiting changes, less is shown, but never something wrong.
    #[test]
    fn what_is_forgotten_is_not_shown(
        acts in vec(act(), 0..40), steps in steps(), most_waiting in 0..6_usize,
    ) {
        let logs = history(&acts);
        let small = Timeline { most_waiting, ..Timeline::new(user(0)) };
        let timeline = device(small, &logs, 0, &steps);
        prop_assert!(timeline.waiting() <= most_waiting);
        let mut expected = expected(&logs, 0);
        if let Some(horizon) = timeline.horizon() {
            expected = expected.split_off(&id(horizon.as_u64() + 1));
        }
        prop_assert_eq!(looks(&timeline), expected);
    }
}

#[test]
fn changes_wait_for_their_message() {
    let (alice, bob) = (user(0), user(1));
    let mut timeline = Timeline::new(bob.clone());
    let edit = |id: MessageId, text: &str| Content::from(Change::edit(id, text));
    assert_eq!(timeline.apply(Entry::new(id(5), Some(&alice), &edit(id(3), "b"))), None);
    assert_eq!(timeline.apply(Entry::new(id(4), Some(&alice), &edit(id(3), "a"))), None, "an older one");
    assert_eq!((timeline.waiting(), timeline.get(id(3)), timeline.messages().count()), (1, None, 0));
    assert_eq!(timeline.apply(Entry::new(id(3), Some(&alice), &Content::text("c"))), Some(id(3)));
    assert_eq!(timeline.get(id(3)).unwrap().content(), Some(&Content::text("b")));
    assert_eq!(timeline.waiting(), 0);
}

#[test]
fn what_a_recalled_message_said_is_not_kept() {
    let alice = user(0);
    let mut timeline = Timeline::new(alice.clone());
    timeline.apply(Entry::new(id(1), Some(&alice), &Content::text("a secret")));
    timeline.apply(Entry::new(id(2), Some(&alice), &Change::edit(id(1), "still a secret").into()));
    timeline.apply(Entry::new(id(3), None, &Change::recall(id(1)).into()));
    timeline.apply(Entry::new(id(1), Some(&alice), &Content::text("a secret")));
    assert!(!format!("{timeline:?}").contains("secret"));
    let message = timeline.get(id(1)).unwrap();
    assert_eq!((message.content(), message.recalled().unwrap().by.clone()), (None, None));
}

#[test]
fn a_deletion_is_for_its_user_alone() {
    let (alice, bob) = (user(0), user(1));
    let mut timeline = Timeline::new(alice.clone());
    timeline.apply(Entry::new(id(1), Some(&bob), &Content::text("hi")));
    let delete = Content::from(Change::delete_for_me(id(1)));
    assert_eq!(timeline.apply(Entry::new(id(2), Some(&bob), &delete)), None);
    assert!(!timeline.get(id(1)).unwrap().is_deleted());
    assert_eq!(timeline.apply(Entry::new(id(3), Some(&alice), &delete)), Some(id(1)));
    assert!(timeline.get(id(1)).unwrap().is_deleted());
}

#[test]
fn the_oldest_that_waits_is_given_up_with_all_before_it() {
    let alice = user(0);
    let mut timeline = Timeline { most_waiting: 2, ..Timeline::new(alice.clone()) };
    let mut apply = |number, content: Content| timeline.apply(Entry::new(id(number), Some(&alice), &content));
    apply(1, Content::text("before"));
    apply(3, Content::text("after"));
    apply(10, Change::pin(id(2)).into());
    apply(11, Change::react(id(4), "👍").into());
    apply(12, Change::react(id(4), "🎉").into());
    assert_eq!((timeline.horizon(), timeline.waiting()), (Some(id(2)), 2));
    let shown: Vec<_> = timeline.messages().map(ShownMessage::id).collect();
    assert_eq!(shown, [id(3)]);
    assert_eq!(timeline.apply(Entry::new(id(2), Some(&alice), &Content::text("late"))), None);
    assert_eq!(timeline.apply(Entry::new(id(4), Some(&alice), &Content::text("late"))), Some(id(4)));
    timeline.forget_through(id(u64::MAX >> 1));
    assert_eq!((timeline.messages().count(), timeline.waiting()), (0, 0));
}

/// Applies a user's reactions to one message, each by another change, in an order given by
/// `shuffle`.
fn many_reactions(reactions: &[(u8, bool)], shuffle: &[u16]) -> Timeline {
    let message = id(1);
    let mut changes: Vec<(u16, MessageId, Change)> = reactions
        .iter()
        .zip(2..)
        .map(|(&(emoji, removed), number)| {
            let emoji = format!("emoji-{}", emoji % 60);
            let change =
                if removed { Change::unreact(message, emoji) } else { Change::react(message, emoji) };
            (shuffle[number as usize % shuffle.len()].rotate_left(number as u32), id(number), change)
        })
        .collect();
    changes.sort_by_key(|(place, ..)| *place);
    let mut timeline = Timeline::new(user(0));
    timeline.apply(Entry::new(message, Some(&user(1)), &Content::text("hi")));
    for (_, id, change) in changes {
        timeline.apply(Entry::new(id, Some(&user(0)), &change.into()));
    }
    timeline
}

proptest! {
    #[test]
    fn of_any_number_of_reactions_the_same_are_shown_in_whatever_order_they_come(
        reactions in vec((any::<u8>(), prop::bool::weighted(0.2)), 0..200),
        one in vec(any::<u16>(), 1..50),
        other in vec(any::<u16>(), 1..50),
    ) {
        let (one, other) = (many_reactions(&reactions, &one), many_reactions(&reactions, &other));
        prop_assert_eq!(&one, &other);
        let shown = one.get(id(1)).unwrap().reactions();
        prop_assert!(shown.len() <= crate::proto::limits::MAX_REACTIONS_PER_USER);
    }
}

#[test]
fn a_message_shows_the_newest_of_a_users_reactions_and_those_of_others() {
    let mut timeline = Timeline::new(user(0));
    timeline.apply(Entry::new(id(1), Some(&user(1)), &Content::text("hi")));
    for number in 2..=1001 {
        let change = Change::react(id(1), format!("{number:04}"));
        assert_eq!(timeline.apply(Entry::new(id(number), Some(&user(0)), &change.into())), Some(id(1)));
    }
    timeline.apply(Entry::new(id(2000), Some(&user(2)), &Change::react(id(1), "0001").into()));
    let message = timeline.get(id(1)).unwrap();
    let shown: Vec<_> = message.reactions().into_iter().map(|reaction| reaction.emoji.to_owned()).collect();
    let newest = (982..=1001).map(|number| format!("{number:04}"));
    assert_eq!(shown, std::iter::once("0001".to_owned()).chain(newest).collect::<Vec<_>>());
    // Removing one makes room for the next older one.
    timeline.apply(Entry::new(id(2001), Some(&user(0)), &Change::unreact(id(1), "1001").into()));
    let shown = timeline.get(id(1)).unwrap().reactions();
    assert_eq!((shown.len(), shown[1].emoji), (21, "0981"));
}

fn ordered(message: MessageId, order: u64, kind: ChangeKind) -> Content {
    Change { order, ..Change::new(message, kind) }.into()
}

#[test]
fn messages_are_in_the_order_of_their_log_whatever_the_clocks() {
    let (alice, team) = (user(0), "team".parse().unwrap());
    let mut timeline = Timeline::new(user(1));
    let hi = Content::text("hi");
    let mut apply = |number, channel: Option<&ChannelId>, seq: u64| {
        let entry = Entry::new(id(number), Some(&alice), &hi);
        timeline.apply(if seq == 0 { entry } else { entry.at(channel, seq) });
    };
    // The question came from a backend whose clock is ahead, the later messages from others.
    apply(20, None, 4);
    apply(90, None, 1);
    apply(10, None, 2);
    apply(95, None, 3);
    apply(50, Some(&team), 7);
    apply(92, Some(&team), 8);
    apply(60, None, 0);
    let shown: Vec<u64> = timeline.messages().map(|message| message.id().as_u64()).collect();
    assert_eq!(shown, [50, 60, 90, 10, 92, 95, 20]);
    let back: Vec<u64> = timeline.messages().rev().map(|message| message.id().as_u64()).collect();
    assert!(back.iter().rev().eq(&shown));
    // Bob has read only the question: neither the answer nor later messages.
    assert!(timeline.is_read(id(90), id(90)) && !timeline.is_read(id(10), id(90)));
    assert!(!timeline.is_read(id(20), id(90)) && timeline.is_read(id(90), id(20)));
    assert!(timeline.is_read(id(50), id(90)), "another log: by their ids");
}

#[test]
fn the_last_change_counts_whatever_the_clocks() {
    let alice = user(0);
    let edit = |text: &str| ChangeKind::Edit(Box::new(Content::text(text)));
    let pin = |removed| ChangeKind::Pin { removed };
    let react = |removed| ChangeKind::Reaction { emoji: "x".to_owned(), removed };
    let changes = [
        (90, ordered(id(1), 2, edit("first"))),
        (50, ordered(id(1), 3, edit("last"))),
        (91, ordered(id(1), 4, pin(false))),
        (51, ordered(id(1), 5, pin(true))),
        (92, ordered(id(1), 6, react(false))),
        (52, ordered(id(1), 7, react(true))),
    ];
    let mut reversed = changes.clone();
    reversed.reverse();
    for changes in [changes, reversed] {
        let mut timeline = Timeline::new(alice.clone());
        timeline.apply(Entry::new(id(1), Some(&alice), &Content::text("at first")));
        changes
            .iter()
            .for_each(|(own, change)| _ = timeline.apply(Entry::new(id(*own), Some(&alice), change)));
        let message = timeline.get(id(1)).unwrap();
        assert_eq!(message.content().and_then(Content::as_text), Some("last"));
        assert!(!message.is_pinned() && message.reactions().is_empty());
    }
}

#[test]
fn an_emoji_with_and_without_the_selector_of_its_look_is_one_reaction() {
    let (plain, colored) = ("\u{2764}", "\u{2764}\u{fe0f}");
    for (first, second) in [(plain, colored), (colored, plain)] {
        let mut timeline = Timeline::new(user(0));
        timeline.apply(Entry::new(id(1), Some(&user(1)), &Content::text("hi")));
        timeline.apply(Entry::new(id(2), Some(&user(1)), &Change::react(id(1), first).into()));
        timeline.apply(Entry::new(id(3), Some(&user(2)), &Change::react(id(1), second).into()));
        let shown = timeline.get(id(1)).unwrap().reactions();
        assert_eq!((shown.len(), shown[0].emoji, shown[0].users.len()), (1, colored, 2));
        // Another keyboard removes it.
        timeline.apply(Entry::new(id(4), Some(&user(1)), &Change::unreact(id(1), second).into()));
        let shown = timeline.get(id(1)).unwrap().reactions();
        assert_eq!((shown[0].emoji, shown[0].users.as_slice()), (second, &[Some(&user(2))][..]));
    }
}
