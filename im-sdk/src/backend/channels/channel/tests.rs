use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use async_trait::async_trait;

use super::*;
use crate::{
    ConversationChange, ReadMark,
    backend::{Im, Incoming, InvalidMessage, testing::HandlerTest},
    cluster::{Cluster, MemberStore, MemberTables},
};

/// The rows of one group in the application's own tables.
#[derive(Debug, Default)]
struct Rows {
    users: Mutex<BTreeSet<UserId>>,
    looks: AtomicUsize,
    /// Pages begin with the first row, whatever `after` says.
    ignores_after: AtomicBool,
}

impl Rows {
    fn with(count: usize) -> Arc<Self> {
        let users = (0..count).map(|n| id(&format!("u{n:05}"))).collect();
        Arc::new(Self { users: Mutex::new(users), ..Self::default() })
    }
}

fn id(name: &str) -> UserId {
    name.parse().unwrap()
}

#[async_trait]
impl MemberTables for Rows {
    async fn channels(&self, user: &UserId) -> Result<Vec<ChannelId>, MembersError> {
        let is_member = self.users.lock().unwrap().contains(user);
        Ok(is_member.then(|| "team".parse().unwrap()).into_iter().collect())
    }

    async fn is_member(&self, _: &ChannelId, user: &UserId) -> Result<bool, MembersError> {
        Ok(self.users.lock().unwrap().contains(user))
    }

    async fn members(
        &self,
        _: &ChannelId,
        after: Option<&UserId>,
        limit: usize,
    ) -> Result<Vec<UserId>, MembersError> {
        self.looks.fetch_add(1, Ordering::Relaxed);
        let after = after.filter(|_| !self.ignores_after.load(Ordering::Relaxed));
        let users = self.users.lock().unwrap();
        let behind = users.iter().filter(|user| after.is_none_or(|after| *user > after));
        Ok(behind.take(limit).cloned().collect())
    }
}

/// A member store over such rows, from before there was a trait that only reads: `add` and `remove` find the
/// work done.
#[derive(Debug)]
struct Unchanging(Arc<Rows>);

#[async_trait]
impl MemberStore for Unchanging {
    async fn channels(&self, user: &UserId) -> Result<Vec<ChannelId>, MembersError> {
        self.0.channels(user).await
    }

    async fn is_member(&self, channel: &ChannelId, user: &UserId) -> Result<bool, MembersError> {
        self.0.is_member(channel, user).await
    }

    async fn members(
        &self,
        channel: &ChannelId,
        after: Option<&UserId>,
        limit: usize,
    ) -> Result<Vec<UserId>, MembersError> {
        self.0.members(channel, after, limit).await
    }

    async fn add(&self, _: &ChannelId, _: &[UserId]) -> Result<(), MembersError> {
        Ok(())
    }

    async fn remove(&self, _: &ChannelId, _: &[UserId]) -> Result<(), MembersError> {
        Ok(())
    }
}

/// The two ways in which an application keeps members in its own tables.
async fn back_ends(count: usize) -> [(Arc<Rows>, Im); 2] {
    let (one, other) = (Rows::with(count), Rows::with(count));
    let reading = Cluster::embedded().with_member_tables(one.clone());
    let unchanging = Cluster::embedded().with_members(Arc::new(Unchanging(other.clone())));
    let reading = Im::with_cluster(reading).await.unwrap();
    [(one, reading), (other, Im::with_cluster(unchanging).await.unwrap())]
}

#[tokio::test]
async fn closing_ends_where_rows_of_own_tables_stay() {
    for (rows, im) in back_ends(2 * BATCH + 1).await {
        im.channel("team").close().await.unwrap();
        let looks = rows.looks.load(Ordering::Relaxed);
        assert!(looks <= 8, "looked {looks} times");
        let page = im.conversations(&id("u00000"), 0, 10).await.unwrap();
        assert!(page.conversations.is_empty(), "{page:?}");
        im.channel("team").members_changed([id("u00000")], []).await.unwrap();
        let page = im.conversations(&id("u00000"), 0, 10).await.unwrap();
        assert_eq!(page.conversations.len(), 1, "it is open again");
    }
}

#[tokio::test]
async fn closing_ends_where_tables_pay_no_attention_to_after() {
    let tables = Rows::with(2 * BATCH);
    tables.ignores_after.store(true, Ordering::Relaxed);
    let im = Im::with_cluster(Cluster::embedded().with_member_tables(tables)).await.unwrap();
    im.channel("team").close().await.unwrap();
}

#[tokio::test]
async fn a_dissolved_channel_stays_in_the_list_until_it_is_deleted() {
    for rows_first in [true, false] {
        for (rows, im) in back_ends(2).await {
            let (team, user) = (im.channel("team"), id("u00001"));
            team.members_changed([id("u00000"), user.clone()], []).await.unwrap();
            let last = team.send(Message::new().from("u00000").text("goodbye")).await.unwrap();
            if rows_first {
                rows.users.lock().unwrap().clear();
            }
            team.dissolve().await.unwrap();
            rows.users.lock().unwrap().clear();
            team.send(Message::new().text("to nobody")).await.unwrap();

            let page = im.conversations(&user, 0, 10).await.unwrap();
            let [listed] = &page.conversations[..] else { panic!("{page:?}") };
            assert_eq!((listed.state.closed, listed.unread, page.unread), (Some(1), 1, 1));
            assert_eq!(listed.last.as_ref().unwrap().message_id, last.message_id);

            let name: ChannelId = "team".parse().unwrap();
            let read = ConversationChange::new().read(ReadMark::new(1, None));
            im.set_conversation(&user, name.clone(), read).await.unwrap();
            assert_eq!(im.conversations(&user, 0, 10).await.unwrap().unread, 0);
            let delete = ConversationChange::new().delete(1);
            im.set_conversation(&user, name, delete).await.unwrap();
            assert!(im.conversations(&user, 0, 10).await.unwrap().conversations.is_empty());
        }
    }
}

#[tokio::test]
async fn who_was_removed_before_sees_nothing_of_a_dissolved_channel() {
    let im = Im::with_cluster(Cluster::embedded()).await.unwrap();
    let team = im.channel("team");
    team.add_members(["alice", "bob"]).await.unwrap();
    team.send(Message::new().from("alice").text("hi")).await.unwrap();
    team.remove_members(["bob"]).await.unwrap();
    team.send(Message::new().from("alice").text("without bob")).await.unwrap();
    team.dissolve().await.unwrap();
    let listed = async |user| im.conversations(&id(user), 0, 10).await.unwrap().conversations.len();
    assert_eq!((listed("alice").await, listed("bob").await), (1, 0));
    team.add_members(["alice"]).await.unwrap();
    let page = im.conversations(&id("alice"), 0, 10).await.unwrap();
    assert_eq!(page.conversations[0].state.closed, None, "it is open again");
}

#[tokio::test]
async fn what_is_no_id_shows_when_it_is_used() {
    let im = Im::with_cluster(Cluster::embedded()).await.unwrap();
    let wrong = im.channel("no channel");
    assert!(matches!(wrong.add_members(["bob"]).await, Err(ChannelError::InvalidId(_))));
    assert!(matches!(wrong.members(None, 10).await, Err(ChannelError::InvalidId(_))));
    assert!(matches!(
        wrong.send(Message::new().text("hi")).await,
        Err(SendError::Invalid(InvalidMessage::Channel(_)))
    ));
    let team = im.channel("team");
    assert!(matches!(team.add_members(["bob", "no user"]).await, Err(ChannelError::InvalidId(_))));
    assert_eq!(team.members(None, 10).await.unwrap(), [], "nobody was added");
}

#[tokio::test]
async fn who_joins_late_has_read_the_past() {
    let kept = Im::with_cluster(Cluster::embedded()).await.unwrap();
    let [(one, reading), (other, unchanging)] = back_ends(0).await;
    for (rows, im) in [(None, kept), (Some(one), reading), (Some(other), unchanging)] {
        let read_only = im.inner.cluster.members().is_read_only();
        let add = async |name: &str| {
            if let Some(rows) = &rows {
                rows.users.lock().unwrap().insert(id(name));
            }
            let team = im.channel("team");
            if read_only { team.members_changed([name], []).await } else { team.add_members([name]).await }
        };
        let say = async |count: usize| {
            for _ in 0..count {
                im.channel("team").send(Message::new().from("alice").text("hi")).await.unwrap();
            }
        };
        let unread = async |name: &str| im.conversations(&id(name), 0, 10).await.unwrap().unread;
        add("alice").await.unwrap();
        add("bob").await.unwrap();
        say(30).await;
        add("carol").await.unwrap();
        assert_eq!((unread("carol").await, unread("bob").await), (0, 30), "{im:?}");
        say(2).await;
        // Repeating the call takes nothing away.
        for name in ["bob", "carol"] {
            add(name).await.unwrap();
        }
        assert_eq!((unread("carol").await, unread("bob").await), (2, 32));
        // A member who comes back starts anew.
        if let Some(rows) = &rows {
            rows.users.lock().unwrap().remove(&id("carol"));
        }
        let team = im.channel("team");
        let removed = if read_only {
            team.members_changed([], ["carol"]).await
        } else {
            team.remove_members(["carol"]).await
        };
        removed.unwrap();
        say(3).await;
        add("carol").await.unwrap();
        say(1).await;
        assert_eq!(unread("carol").await, 1);
    }
}

#[tokio::test]
async fn members_in_own_tables_are_not_changed_by_the_sdk() {
    let [(_, im), _] = back_ends(1).await;
    let error = im.channel("team").add_members(["carol"]).await.unwrap_err();
    assert!(error.to_string().contains("members_changed"), "{error}");
    let error = im.channel("team").remove_members(["u00000"]).await.unwrap_err();
    assert!(error.to_string().contains("members_changed"), "{error}");
}

#[tokio::test]
async fn a_member_sees_the_channel_from_its_joining_on() {
    let im = Im::with_cluster(Cluster::embedded()).await.unwrap();
    let (team, carol) = (im.channel("team").history_from_joining(), id("carol"));
    let say =
        async |text: &str| im.channel("team").send(Message::new().from("alice").text(text)).await.unwrap();
    say("one").await;
    say("two").await;
    team.add_members([&carol]).await.unwrap();
    let listed = im.conversations(&carol, 0, 10).await.unwrap();
    let [conversation] = &listed.conversations[..] else { panic!("{listed:?}") };
    assert_eq!((conversation.last.as_ref(), conversation.unread, conversation.state.joined), (None, 0, 2));
    say("three").await;
    let listed = im.conversations(&carol, 0, 10).await.unwrap();
    assert_eq!((listed.unread, listed.conversations.len()), (1, 1));
    let name = crate::Conversation::Channel("team".parse().unwrap());
    for range in [crate::HistoryRange::After(0), crate::HistoryRange::Newest, crate::HistoryRange::Before(3)]
    {
        let page = im.history(&carol, &name, range, 10).await.unwrap();
        assert!(page.messages.iter().all(|entry| entry.seq == 3), "{range:?}: {page:?}");
    }
    // Repeating the call takes nothing away.
    team.add_members([&carol]).await.unwrap();
    assert_eq!(im.conversations(&carol, 0, 10).await.unwrap().unread, 1);
}

#[tokio::test]
async fn nobody_publishes_to_a_closed_channel_whose_rows_stay() {
    for (_, im) in back_ends(2).await {
        let accept = |incoming: Incoming| async move { Ok(incoming.accept()) };
        let test = HandlerTest::on(im.clone(), Arc::new(accept));
        let name = crate::Recipient::Channel("team".parse().unwrap());
        let publish = async || test.publish("u00000", name.clone(), "hi").await;
        publish().await.unwrap();
        im.channel("team").close().await.unwrap();
        let refused = publish().await.unwrap_err();
        assert_eq!(refused.code, crate::refusal_code::NOT_A_MEMBER, "{refused:?}");
        im.channel("team").members_changed([id("u00000")], []).await.unwrap();
        publish().await.unwrap();
    }
}
