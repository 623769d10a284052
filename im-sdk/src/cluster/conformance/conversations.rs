//! Conformance of [`ConversationStore`].

use std::collections::BTreeSet;

use futures_util::future::join_all;

use crate::{
    ConversationState, ReadMark, Recipient,
    cluster::{
        ChangeOrigin, ChangedConversation, ConversationPatch, ConversationStore, MAX_CONTACTS,
        MAX_DELETED_MESSAGES,
    },
    id::{ChannelId, MessageId, UserId},
};

/// Checks an implementation on a store that nothing else uses.
///
/// # Panics
/// When a rule is broken.
pub async fn check_conversations(store: &dyn ConversationStore) {
    nothing_is_set_at_first(store).await;
    marks_never_go_back(store).await;
    of_the_rest_the_last_change_counts(store).await;
    an_older_setting_does_not_replace_a_newer_one(store).await;
    what_is_read_is_not_marked_as_unread(store).await;
    a_lost_mark_can_be_replaced(store).await;
    versions_number_the_changes(store).await;
    users_and_conversations_are_apart(store).await;
    changes_at_once_all_count(store).await;
    nothing_is_forgotten(store).await;
    readers_are_counted(store).await;
    members_who_have_read_nothing_are_noted(store).await;
    channels_are_closed_and_opened(store).await;
    contacts_have_a_direction(store).await;
    contacts_are_bounded(store).await;
    deleted_messages_are_remembered(store).await;
    deleted_messages_are_bounded(store).await;
}

async fn nothing_is_set_at_first(store: &dyn ConversationStore) {
    let (user, team) = (user(), channel());
    let states = store.states(&user, std::slice::from_ref(&team)).await.expect("states");
    assert_eq!(states, [ConversationState::new(team.clone())]);
    assert_eq!(store.states(&user, &[]).await.expect("states"), []);
    let page = store.changed_since(&user, 0, 10).await.expect("changes");
    assert_eq!((page.states.len(), page.more, page.version), (0, false, 0));
    let nothing = change(store, &user, &team, ConversationPatch::default()).await;
    assert!(!nothing.changed && nothing.state.version == 0, "{nothing:?}");
}

async fn marks_never_go_back(store: &dyn ConversationStore) {
    let (user, bob) = (user(), Recipient::User(user()));
    let first = change(store, &user, &bob, read(5)).await;
    assert_eq!((first.changed, first.read_before, first.state.read), (true, 0, mark(5)));
    let earlier = change(store, &user, &bob, read(3)).await;
    assert_eq!((earlier.changed, earlier.read_before, earlier.state.read), (false, 5, mark(5)));
    let again = change(store, &user, &bob, read(5)).await;
    assert_eq!((again.changed, again.state.version), (false, first.state.version));
    let further = change(store, &user, &bob, read(9)).await;
    assert_eq!((further.changed, further.read_before, further.state.read), (true, 5, mark(9)));

    let deleted = |seq| ConversationPatch { deleted: Some(seq), ..Default::default() };
    change(store, &user, &bob, deleted(7)).await;
    assert!(!change(store, &user, &bob, deleted(4)).await.changed);
    let peer = |seq| ConversationPatch { peer_read: Some(mark(seq)), ..Default::default() };
    change(store, &user, &bob, peer(8)).await;
    assert!(!change(store, &user, &bob, peer(6)).await.changed);
    let state = state(store, &user, &bob).await;
    assert_eq!((state.read, state.deleted, state.peer_read), (mark(9), 7, mark(8).id));
}

async fn of_the_rest_the_last_change_counts(store: &dyn ConversationStore) {
    let (user, team) = (user(), channel());
    let all = ConversationPatch {
        pinned: Some(true),
        muted: Some(true),
        draft: Some("Grüße, \u{1F642} \"'\r\n\0".into()),
        hidden: Some(4),
        ..Default::default()
    };
    let set = change(store, &user, &team, all.clone()).await;
    assert!(set.state.pinned && set.state.muted && set.state.hidden == 4);
    assert_eq!(Some(&set.state.draft), all.draft.as_ref());
    assert!(!change(store, &user, &team, all).await.changed, "said again");
    let back = ConversationPatch {
        pinned: Some(false),
        draft: Some(String::new()),
        hidden: Some(0),
        ..Default::default()
    };
    change(store, &user, &team, back).await;
    let state = state(store, &user, &team).await;
    assert!(!state.pinned && state.muted && state.draft.is_empty() && state.hidden == 0, "{state:?}");
}

/// The newest setting wins, whichever arrives last.
async fn an_older_setting_does_not_replace_a_newer_one(store: &dyn ConversationStore) {
    let (user, bob) = (user(), Recipient::User(user()));
    let made = |device: &str, at_ms, known| Some(ChangeOrigin { at_ms, known, device: device.into() });
    let draft =
        |text: &str, made| ConversationPatch { draft: Some(text.into()), origin: made, ..Default::default() };
    let pin = |pinned, made| ConversationPatch { pinned: Some(pinned), origin: made, ..Default::default() };
    let first = change(store, &user, &bob, draft("first", made("a", 1000, 0))).await.state.version;
    change(store, &user, &bob, pin(true, made("a", 1000, 0))).await;

    let older = change(store, &user, &bob, draft("older", made("b", 900, first - 1))).await;
    assert!(!older.changed && older.state.draft == "first", "{older:?}");
    let newer = change(store, &user, &bob, draft("newer", made("b", 1100, first - 1))).await;
    assert_eq!(newer.state.draft, "newer");
    // A change that knew the earlier one wins, whatever its clock.
    let knowing = change(store, &user, &bob, draft("knowing", made("a", 5, newer.state.version))).await;
    assert_eq!(knowing.state.draft, "knowing");
    change(store, &user, &bob, draft("much later", made("a", 2000, 0))).await;
    // The changes of one device arrive in order.
    assert_eq!(change(store, &user, &bob, draft("own", made("a", 1500, 0))).await.state.draft, "own");
    assert!(!change(store, &user, &bob, draft("late", made("b", 1400, 0))).await.changed);
    // A device restored from a backup is an exception: its setting is much older.
    change(store, &user, &bob, draft("own", made("a", 200_000, 0))).await;
    change(store, &user, &bob, draft("today", made("a", 300_000, 0))).await;
    assert!(!change(store, &user, &bob, draft("from a backup", made("a", 1500, 0))).await.changed);
    // Each setting has its own time, even if others changed since.
    assert!(!change(store, &user, &bob, pin(false, made("b", 999, 0))).await.changed);
    assert!(change(store, &user, &bob, pin(false, made("b", 1000, 0))).await.changed);
    // A part that cannot be replaced does not keep other parts from being replaced.
    let both = ConversationPatch { read: Some(mark(7)), ..draft("late", made("c", 10, 0)) };
    let outcome = change(store, &user, &bob, both).await;
    assert_eq!((outcome.changed, outcome.state.read, &*outcome.state.draft), (true, mark(7), "today"));
    // Without a time it always applies.
    assert_eq!(change(store, &user, &bob, draft("now", None)).await.state.draft, "now");

    let muted = |until, made| ConversationPatch {
        muted: Some(true),
        muted_until_ms: Some(until),
        origin: made,
        ..Default::default()
    };
    let until = change(store, &user, &bob, muted(70, made("a", 1000, 0))).await.state;
    assert_eq!((until.muted, until.muted_until_ms), (true, Some(70)));
    assert!(!change(store, &user, &bob, muted(0, made("b", 900, 0))).await.changed);
    let for_ever = change(store, &user, &bob, muted(0, made("b", 1100, 0))).await.state;
    assert_eq!((for_ever.muted, for_ever.muted_until_ms), (true, None));
    let only = ConversationPatch { mentions_only: Some(true), ..Default::default() };
    assert!(change(store, &user, &bob, only).await.state.mentions_only);
}

async fn what_is_read_is_not_marked_as_unread(store: &dyn ConversationStore) {
    let (user, bob) = (user(), Recipient::User(user()));
    let marked = ConversationPatch { marked_unread: Some(true), ..Default::default() };
    change(store, &user, &bob, read(5)).await;
    assert!(change(store, &user, &bob, marked.clone()).await.state.marked_unread);
    let again = change(store, &user, &bob, read(5)).await;
    assert!(again.changed && !again.state.marked_unread, "also where there is nothing further to read");
    let both = change(store, &user, &bob, ConversationPatch { read: Some(mark(6)), ..marked }).await.state;
    assert!(both.marked_unread && both.read == mark(6));
}

/// A lower mark replaces one whose place was lost in a rollback of the log.
async fn a_lost_mark_can_be_replaced(store: &dyn ConversationStore) {
    let (user, team) = (user(), channel());
    change(store, &user, &team, read(9)).await;
    let replace = |lost, seq| ConversationPatch { lost: Some(lost), ..read(seq) };
    assert!(!change(store, &user, &team, replace(mark(8), 3)).await.changed, "it stood elsewhere");
    let other = ReadMark::new(9, MessageId::from_u64(4711));
    assert!(!change(store, &user, &team, replace(other, 3)).await.changed, "at another message");
    let replaced = change(store, &user, &team, replace(mark(9), 3)).await;
    assert_eq!((replaced.changed, replaced.state.read), (true, mark(3)));
}

async fn versions_number_the_changes(store: &dyn ConversationStore) {
    let user = user();
    let names: Vec<Recipient> = (0..5).map(|_| channel()).collect();
    for (index, name) in names.iter().enumerate() {
        let changed = change(store, &user, name, read(1)).await;
        assert_eq!(changed.state.version, index as u64 + 1);
    }
    assert_eq!(change(store, &user, &names[1], read(2)).await.state.version, 6);
    let listed = async |since, limit| {
        let page = store.changed_since(&user, since, limit).await.expect("changes");
        assert_eq!(page.version, 6);
        let states = page.states.into_iter().map(|state| (state.version, state.conversation));
        (states.collect::<Vec<_>>(), page.more)
    };
    let expected: Vec<_> =
        [(1, 0), (3, 2), (4, 3), (5, 4), (6, 1)].map(|(version, at)| (version, names[at].clone())).into();
    assert_eq!(listed(0, 10).await, (expected.clone(), false));
    assert_eq!(listed(0, 5).await, (expected.clone(), false));
    assert_eq!(listed(0, 2).await, (expected[..2].to_vec(), true));
    assert_eq!(listed(3, 2).await, (expected[2..4].to_vec(), true));
    assert_eq!(listed(5, 2).await, (expected[4..].to_vec(), false));
    assert_eq!(listed(6, 2).await, (vec![], false));
    assert_eq!(listed(99, 2).await, (vec![], false));
}

async fn users_and_conversations_are_apart(store: &dyn ConversationStore) {
    let (one, other, name) = (user(), user(), unique());
    let (as_user, as_channel): (Recipient, Recipient) = (
        Recipient::User(name.parse().expect("a user id")),
        Recipient::Channel(name.parse().expect("a channel id")),
    );
    change(store, &one, &as_user, read(3)).await;
    assert_eq!(state(store, &one, &as_channel).await.read.seq, 0);
    assert_eq!(state(store, &other, &as_user).await.read.seq, 0);
    let states = store.states(&one, &[as_channel, as_user]).await.expect("states");
    assert!(states.iter().map(|state| state.read.seq).eq([0, 3]), "in the order of the question");
}

async fn changes_at_once_all_count(store: &dyn ConversationStore) {
    let (user, team, bob) = (user(), channel(), Recipient::User(user()));
    let marks = (1..=10).map(|seq| change(store, &user, &team, read(seq)));
    let others = [
        ConversationPatch { pinned: Some(true), ..Default::default() },
        ConversationPatch { muted: Some(true), ..Default::default() },
        ConversationPatch { draft: Some("a".into()), ..Default::default() },
    ];
    let others = others.map(|patch| change(store, &user, &team, patch));
    let peers = (1..=5).map(|seq| change(store, &user, &bob, read(seq)));
    let (marks, others, peers) = futures_util::join!(join_all(marks), join_all(others), join_all(peers));
    let outcomes: Vec<_> = marks.into_iter().chain(others).chain(peers).collect();
    let changed: Vec<_> = outcomes.iter().filter(|outcome| outcome.changed).collect();
    let versions: BTreeSet<u64> = changed.iter().map(|outcome| outcome.state.version).collect();
    assert!(versions.iter().copied().eq(1..=changed.len() as u64), "each its own, without a gap");
    let state = state(store, &user, &team).await;
    assert!(state.read == mark(10) && state.pinned && state.muted && state.draft == "a", "{state:?}");
}

async fn nothing_is_forgotten(store: &dyn ConversationStore) {
    const MANY: usize = 1100;
    let user = user();
    let name = |index: usize| Recipient::Channel(format!("c-{index}").parse().expect("a channel id"));
    for index in 0..MANY {
        change(store, &user, &name(index), read(1)).await;
    }
    let (mut listed, mut since) = (0, 0);
    loop {
        let page = store.changed_since(&user, since, 400).await.expect("changes");
        assert_eq!((page.version, page.states.len() <= 400), (MANY as u64, true));
        listed += page.states.len();
        since = page.states.last().map_or(since, |state| state.version);
        if !page.more {
            break;
        }
    }
    assert_eq!(listed, MANY);
    assert_eq!(state(store, &user, &name(0)).await.read, mark(1));
}

/// Checks an implementation that stores the states of `limit` conversations of a user.
///
/// # Panics
/// When a rule is broken.
pub async fn check_conversation_limit(store: &dyn ConversationStore, limit: usize) {
    let user = user();
    let names: Vec<Recipient> = (0..=limit).map(|_| channel()).collect();
    for name in &names[..limit] {
        change(store, &user, name, read(1)).await;
    }
    let error = store.change(&user, &names[limit], &read(1)).await.expect_err("one too many");
    assert!(error.is_too_many(), "{error}");
    let nothing = change(store, &user, &names[limit], ConversationPatch::default()).await;
    assert!(!nothing.changed, "what changes nothing takes no room");
    for name in &names[..limit] {
        assert_eq!(state(store, &user, name).await.read, mark(1), "nothing is forgotten");
    }
    assert!(change(store, &user, &names[0], read(2)).await.changed, "and what is there can be changed");
    let page = store.changed_since(&user, 0, usize::MAX).await.expect("changes");
    assert_eq!((page.states.len(), page.version), (limit, limit as u64 + 1));
}

async fn readers_are_counted(store: &dyn ConversationStore) {
    let (team, other): (ChannelId, ChannelId) =
        (unique().parse().expect("a channel id"), unique().parse().expect("a channel id"));
    let users: Vec<UserId> = (0..4).map(|_| user()).collect();
    for (user, seq) in users.iter().zip([2, 4, 4, 7]) {
        store.note_readers(&team, std::slice::from_ref(user), seq).await.expect("note");
    }
    store.note_readers(&team, std::slice::from_ref(&users[3]), 5).await.expect("note");
    store.note_readers(&other, std::slice::from_ref(&users[0]), 9).await.expect("note");
    let readers = async |seq, limit| {
        let readers = store.readers(&team, seq, limit).await.expect("readers");
        let named: BTreeSet<UserId> = readers.users.iter().cloned().collect();
        assert_eq!(named.len(), readers.users.len(), "each once");
        (readers.count, named)
    };
    let all: BTreeSet<UserId> = users.iter().cloned().collect();
    assert_eq!(readers(1, 10).await, (4, all.clone()));
    assert_eq!(readers(4, 10).await, (3, users[1..].iter().cloned().collect()));
    assert_eq!(readers(7, 10).await, (1, [users[3].clone()].into()), "it did not go back");
    assert_eq!(readers(8, 10).await, (0, BTreeSet::new()));
    let (count, named) = readers(1, 2).await;
    assert!(count == 4 && named.len() == 2 && named.is_subset(&all));
    assert_eq!(readers(1, 0).await, (4, BTreeSet::new()));
    for _ in 0..2 {
        store.remove_readers(&team, &[users[1].clone(), user()]).await.expect("remove");
        assert_eq!(readers(3, 10).await, (2, users[2..].iter().cloned().collect()));
    }
    store.remove_readers(&team, &[]).await.expect("remove nobody");
    store.remove_readers(&team, &users).await.expect("remove all");
    assert_eq!(readers(0, 10).await, (0, BTreeSet::new()));
}

async fn members_who_have_read_nothing_are_noted(store: &dyn ConversationStore) {
    let team: ChannelId = unique().parse().expect("a channel id");
    let users: Vec<UserId> = (0..600).map(|_| user()).collect();
    let noted = async || store.noted_readers(&team, &users).await.expect("noted readers");
    assert!(noted().await.iter().all(Option::is_none));
    store.note_readers(&team, std::slice::from_ref(&users[1]), 7).await.expect("note");
    store.note_readers(&team, &users[..599], 0).await.expect("note all but the last");
    store.note_readers(&team, &[], 0).await.expect("note nobody");
    let found = noted().await;
    assert_eq!((found[0], found[1], found[598], found[599]), (Some(0), Some(7), Some(0), None));
    assert_eq!(store.readers(&team, 1, 10).await.expect("readers").users, users[1..2]);
    assert_eq!(store.readers(&team, 0, 1000).await.expect("readers").count, 599);
    store.remove_readers(&team, &users[..1]).await.expect("remove");
    assert_eq!(noted().await[0], None);
    assert!(store.noted_readers(&team, &[]).await.expect("noted readers").is_empty());
}

async fn channels_are_closed_and_opened(store: &dyn ConversationStore) {
    let (user, team) = (user(), channel());
    let joined = ConversationPatch { joined: Some(4), ..Default::default() };
    assert_eq!(change(store, &user, &team, joined.clone()).await.state.joined, 4);
    assert!(!change(store, &user, &team, ConversationPatch { joined: Some(3), ..joined }).await.changed);
    let closed = |at| ConversationPatch { closed: Some(at), ..Default::default() };
    assert_eq!(change(store, &user, &team, closed(Some(9))).await.state.closed, Some(9));
    assert!(!change(store, &user, &team, closed(Some(9))).await.changed);
    assert!(!change(store, &user, &team, ConversationPatch::default()).await.changed);
    assert_eq!(state(store, &user, &team).await.closed, Some(9));
    assert_eq!(change(store, &user, &team, closed(None)).await.state.closed, None);
}

async fn contacts_have_a_direction(store: &dyn ConversationStore) {
    let (alice, bob, carol) = (user(), user(), user());
    for _ in 0..2 {
        store.note_contact(&alice, &bob).await.expect("note");
        assert!(store.has_contact(&alice, &bob).await.expect("look"));
    }
    for (user, contact) in [(&bob, &alice), (&alice, &carol), (&alice, &alice)] {
        assert!(!store.has_contact(user, contact).await.expect("look"), "{user} -> {contact}");
    }
}

/// The oldest go first. Contacts recorded together may be of the same millisecond, and of these any
/// may go.
async fn contacts_are_bounded(store: &dyn ConversationStore) {
    const AT_ONCE: usize = 64;
    let (alice, first) = (user(), user());
    store.note_contact(&alice, &first).await.expect("note");
    let others: Vec<UserId> = (0..MAX_CONTACTS + AT_ONCE).map(|_| user()).collect();
    for others in others.chunks(AT_ONCE) {
        let notes = others.iter().map(|other| store.note_contact(&alice, other));
        join_all(notes).await.into_iter().for_each(|noted| noted.expect("note"));
    }
    assert!(!store.has_contact(&alice, &first).await.expect("look"), "forgotten");
    let looks = others.iter().map(|other| store.has_contact(&alice, other));
    let kept: Vec<bool> = join_all(looks).await.into_iter().map(|there| there.expect("look")).collect();
    assert_eq!(kept.iter().filter(|kept| **kept).count(), MAX_CONTACTS);
    assert!(kept[2 * AT_ONCE..].iter().all(|kept| *kept), "the newest stay");
}

async fn deleted_messages_are_remembered(store: &dyn ConversationStore) {
    let (alice, bob) = (user(), user());
    let ids: Vec<MessageId> = (0..3).map(|ms| MessageId::first_at(1_800_000_000_000 + ms)).collect();
    let find = async |user: &UserId| store.find_deleted(user, &ids).await.expect("look");
    assert!(find(&alice).await.is_empty() && store.find_deleted(&alice, &[]).await.expect("look").is_empty());
    for _ in 0..2 {
        store.note_deleted(&alice, &ids[1..2]).await.expect("note");
    }
    assert_eq!(find(&alice).await, [ids[1]].into());
    assert!(find(&bob).await.is_empty(), "another user");
    store.note_deleted(&alice, &ids[..1]).await.expect("note");
    assert_eq!(find(&alice).await, [ids[0], ids[1]].into());
}

async fn deleted_messages_are_bounded(store: &dyn ConversationStore) {
    const AT_ONCE: usize = 1000;
    let alice = user();
    let count = MAX_DELETED_MESSAGES as u64 + 2;
    let ids: Vec<MessageId> = (0..count).map(|ms| MessageId::first_at(1_800_000_000_000 + ms)).collect();
    for ids in ids.chunks(AT_ONCE) {
        store.note_deleted(&alice, ids).await.expect("note");
    }
    let found = store.find_deleted(&alice, &ids).await.expect("look");
    assert_eq!(found.len(), MAX_DELETED_MESSAGES);
    assert!(!found.contains(&ids[0]) && !found.contains(&ids[1]), "the oldest messages are forgotten");
}

async fn change(
    store: &dyn ConversationStore,
    user: &UserId,
    conversation: &Recipient,
    patch: ConversationPatch,
) -> ChangedConversation {
    let changed = store.change(user, conversation, &patch).await.expect("change");
    assert_eq!(&changed.state.conversation, conversation);
    changed
}

async fn state(store: &dyn ConversationStore, user: &UserId, conversation: &Recipient) -> ConversationState {
    store.states(user, std::slice::from_ref(conversation)).await.expect("states").remove(0)
}

fn read(seq: u64) -> ConversationPatch {
    ConversationPatch { read: Some(mark(seq)), ..Default::default() }
}

fn mark(seq: u64) -> ReadMark {
    ReadMark::new(seq, MessageId::from_u64((1 << 60) + seq))
}

fn user() -> UserId {
    unique().parse().expect("a user id")
}

fn channel() -> Recipient {
    Recipient::Channel(unique().parse().expect("a channel id"))
}

fn unique() -> String {
    format!("{:x}", rand::random::<u128>())
}
