//! Conformance of [`MemberStore`].

use std::collections::HashSet;

use futures_util::future::join_all;

use crate::{
    cluster::MemberStore,
    id::{ChannelId, UserId},
};

/// Checks an implementation on a store that nothing else uses.
///
/// # Panics
/// When a rule is broken.
pub async fn check_members(members: &dyn MemberStore) {
    nobody_is_a_member_at_first(members).await;
    members_come_and_go(members).await;
    channels_and_users_of_one_name_are_apart(members).await;
    repeating_changes_nothing(members).await;
    pages_follow_each_other(members).await;
    many_at_once(members).await;
    a_user_in_many_channels(members).await;
}

async fn nobody_is_a_member_at_first(members: &dyn MemberStore) {
    let (channel, user) = (channel(), user());
    assert_eq!(channels(members, &user).await, HashSet::new());
    assert!(!members.is_member(&channel, &user).await.expect("look for a member"));
    assert_eq!(list(members, &channel).await, []);
    members.add(&channel, &[]).await.expect("add nobody");
    members.remove(&channel, &[user]).await.expect("remove who is no member");
    assert_eq!(list(members, &channel).await, []);
}

async fn members_come_and_go(members: &dyn MemberStore) {
    let (one, other) = (channel(), channel());
    let users = sorted(3);
    members.add(&one, &users).await.expect("add");
    members.add(&other, &users[..1]).await.expect("add");
    assert_eq!(list(members, &one).await, users);
    assert_eq!(list(members, &other).await, users[..1]);
    assert_eq!(channels(members, &users[0]).await, HashSet::from([one.clone(), other.clone()]));
    assert_eq!(channels(members, &users[1]).await, HashSet::from([one.clone()]));
    assert!(members.is_member(&one, &users[1]).await.expect("look for a member"));
    assert!(!members.is_member(&other, &users[1]).await.expect("look for a member"));

    members.remove(&one, &users[..2]).await.expect("remove");
    assert_eq!(list(members, &one).await, users[2..]);
    assert_eq!(channels(members, &users[0]).await, HashSet::from([other]));
    assert_eq!(channels(members, &users[1]).await, HashSet::new());
    assert!(!members.is_member(&one, &users[0]).await.expect("look for a member"));
}

async fn channels_and_users_of_one_name_are_apart(members: &dyn MemberStore) {
    let name = unique();
    let (same_channel, same_user): (ChannelId, UserId) =
        (name.parse().expect("a channel id"), name.parse().expect("a user id"));
    let (other_channel, other_user) = (channel(), user());
    members.add(&same_channel, std::slice::from_ref(&other_user)).await.expect("add");
    members.add(&other_channel, std::slice::from_ref(&same_user)).await.expect("add");
    assert_eq!(list(members, &same_channel).await, [other_user]);
    assert_eq!(channels(members, &same_user).await, HashSet::from([other_channel]));
}

/// A call has the same effect when it is repeated, so that an interrupted call can be.
async fn repeating_changes_nothing(members: &dyn MemberStore) {
    let (channel, users) = (channel(), sorted(2));
    for _ in 0..3 {
        members.add(&channel, &[&users[..], &users[..1]].concat()).await.expect("add");
        assert_eq!(list(members, &channel).await, users);
    }
    for _ in 0..3 {
        members.remove(&channel, &[users[0].clone(), users[0].clone()]).await.expect("remove");
        assert_eq!(list(members, &channel).await, users[1..]);
    }
}

async fn pages_follow_each_other(members: &dyn MemberStore) {
    let (channel, users) = (channel(), sorted(10));
    members.add(&channel, &users).await.expect("add");
    for (after, limit, expected) in [
        (None, 4, 0..4),
        (Some(3), 4, 4..8),
        (Some(7), 4, 8..10),
        (Some(9), 4, 10..10),
        (None, usize::MAX, 0..10),
        (None, 10, 0..10),
        (None, 0, 0..0),
    ] {
        let page = members.members(&channel, after.map(|index: usize| &users[index]), limit).await;
        assert_eq!(page.expect("list members"), users[expected], "{limit} after {after:?}");
    }
    members.remove(&channel, &users[4..5]).await.expect("remove");
    let page = members.members(&channel, Some(&users[4]), 2).await.expect("list members");
    assert_eq!(page, users[5..7], "also behind one who has left meanwhile");
}

async fn many_at_once(members: &dyn MemberStore) {
    const COUNT: usize = 2_000;
    let (channel, users) = (channel(), sorted(COUNT));
    join_all(users.chunks(COUNT / 4).map(|users| members.add(&channel, users)))
        .await
        .into_iter()
        .for_each(|added| added.expect("add"));
    assert_eq!(list(members, &channel).await, users);
    members.remove(&channel, &users[..COUNT - 1]).await.expect("remove");
    assert_eq!(list(members, &channel).await, users[COUNT - 1..]);
    assert_eq!(channels(members, &users[0]).await, HashSet::new());
}

async fn a_user_in_many_channels(members: &dyn MemberStore) {
    let user = user();
    let all: HashSet<ChannelId> = (0..1_000).map(|_| channel()).collect();
    let adds = all.iter().map(|channel| members.add(channel, std::slice::from_ref(&user)));
    join_all(adds).await.into_iter().for_each(|added| added.expect("add"));
    assert_eq!(channels(members, &user).await, all);
    let mut asked: Vec<ChannelId> = all.into_iter().collect();
    asked.insert(500, channel());
    asked.push(channel());
    let found = members.is_member_of(&user, &asked).await.expect("look for a member");
    assert!(found.iter().enumerate().all(|(index, found)| *found != [500, 1001].contains(&index)));
    assert_eq!(found.len(), asked.len(), "in their order");
    assert!(members.is_member_of(&user, &[]).await.expect("look for a member").is_empty());
}

async fn channels(members: &dyn MemberStore, user: &UserId) -> HashSet<ChannelId> {
    let listed = members.channels(user).await.expect("list channels");
    let set: HashSet<ChannelId> = listed.iter().cloned().collect();
    assert_eq!(set.len(), listed.len(), "each once");
    set
}

async fn list(members: &dyn MemberStore, channel: &ChannelId) -> Vec<UserId> {
    members.members(channel, None, usize::MAX).await.expect("list members")
}

fn sorted(count: usize) -> Vec<UserId> {
    let mut users: Vec<UserId> = (0..count).map(|_| user()).collect();
    users.sort();
    users
}

fn channel() -> ChannelId {
    unique().parse().expect("a channel id")
}

fn user() -> UserId {
    unique().parse().expect("a user id")
}

fn unique() -> String {
    format!("{:x}", rand::random::<u128>())
}
