//! Compares a device's model with the backend's answers.
#![allow(clippy::unwrap_used, reason = "a failed step of a test is a panic")]

mod costs;
mod device;

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

use self::device::{ALICE, Device, alice, group, log_id, peer};
use super::*;
use crate::{
    ReadMark,
    backend::{Im, Message, channel, user},
    content::{Change, Content},
};

#[tokio::test]
async fn a_model_comes_to_the_same_list_as_the_back_end() {
    let (mut loads, mut checks) = (0, 0);
    for seed in 0..100 {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut device = Device::new().await;
        for step in 0..120 {
            match rng.random_range(0..12) {
                0..5 => device.send(&mut rng).await,
                5..7 => device.set(&mut rng).await,
                10.. => device.change(&mut rng).await,
                7 if device.list.needs_loading() => {
                    // Meanwhile, new events wait.
                    let page = device.page().await;
                    device.send(&mut rng).await;
                    device.set(&mut rng).await;
                    device.change(&mut rng).await;
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
    let team = group("team");
    let read = ConversationChange::new().read(ReadMark::new(5, None));
    im.set_conversation(&alice(), team.clone(), read).await.unwrap();
    let page = im.conversations(&alice(), 0, 10).await.unwrap();
    assert_eq!((page.unread, page.unread_more), (u64::from(MAX_UNREAD) + 1, false), "exactly as many");
    let mute = ConversationChange::new().mute(true);
    im.set_conversation(&alice(), team, mute).await.unwrap();
    assert_eq!(im.conversations(&alice(), 0, 10).await.unwrap().unread, 1);
    // The page is limited, the total is not.
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
    let (team, bob) = (group("team"), peer("bob"));
    let hi = im.send(Message::to(channel("team")).from("bob").text("hi")).await.unwrap().message_id;
    let call = Content::text("@alice").mention(alice());
    let call = im.send(Message::to(user(ALICE)).from("bob").content(call)).await.unwrap().message_id;
    // More entries than are read at first for a last message.
    for _ in 0..300 {
        let pin = Message::to(channel("team")).from("bob").content(Change::pin(hi));
        im.send(pin).await.unwrap();
    }
    im.send(Message::to(user(ALICE)).from("bob").content(Change::pin(call))).await.unwrap();

    device.push().await;
    device.deliver_all();
    let of_device: Vec<_> = [&team, &bob].map(|name| device.list.get(name).unwrap()).into();
    device.check("with changes").await;
    let page = im.conversations(&alice(), 0, 10).await.unwrap();
    let names: Vec<_> = page.conversations.iter().map(|listed| listed.state.conversation.clone()).collect();
    assert_eq!(names.len(), 3, "carol has said nothing: {names:?}");
    assert!(!names.contains(&peer("carol")));
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
    // The same when everything is read, and only the newest entries would be scanned.
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

#[tokio::test]
async fn what_is_recalled_counts_no_more_and_a_last_message_says_what_it_says_now() {
    let mut device = Device::new().await;
    let page = device.page().await;
    device.load(page);
    let im = device.im.clone();
    let say = async |to: Recipient, text: Content| {
        let message = Message::to(to).from("bob").content(text);
        im.send(message).await.unwrap().message_id
    };
    let call = Content::text("@alice").mention(alice());
    let (first, second) =
        (say(group("team"), call.clone()).await, say(group("team"), Content::text("helo")).await);
    let third = say(peer(ALICE), call).await;
    let seen = async |device: &mut Device, what: &str, name: Recipient| {
        device.push().await;
        device.deliver_all();
        if device.list.needs_loading() {
            let page = device.page().await;
            device.load(page);
        }
        device.check(what).await;
        let page = im.conversations(&alice(), 0, 10).await.unwrap();
        page.conversations.into_iter().find(|listed| listed.state.conversation == name).unwrap()
    };
    let team = seen(&mut device, "nothing changed", group("team")).await;
    assert_eq!((team.unread, team.mentions, team.last_edit, team.last_recalled), (2, 1, None, None));

    let edit = say(group("team"), Change::edit(second, Content::text("hello").mention(alice())).into()).await;
    let recall = say(group("team"), Change::recall(first).into()).await;
    let team = seen(&mut device, "edited, and an earlier one recalled", group("team")).await;
    assert_eq!((team.unread, team.mentions), (1, 1), "the edit mentions alice, and the other one is gone");
    let last = team.last.unwrap();
    assert_eq!(
        (last.message_id, last.content.as_text(), team.last_edit),
        (second, Some("hello"), Some(edit))
    );

    let recall = MessageId::max(recall, say(group("team"), Change::recall(second).into()).await);
    let team = seen(&mut device, "recalled", group("team")).await;
    assert_eq!((team.unread, team.mentions, team.last_edit), (0, 0, None));
    let by = Some("bob".parse().unwrap());
    assert_eq!(team.last_recalled, Some(Recalled { change: recall, by }));
    assert!(team.last.is_some_and(|last| last.message_id == second && last.content.is_empty()));

    // A message that alice deletes for herself gives way to the one before it.
    let fourth = say(peer(ALICE), Content::text("hi")).await;
    let delete = Message::to(user("bob")).from(ALICE).content(Change::delete_for_me(fourth));
    im.send(delete).await.unwrap();
    let bob = seen(&mut device, "deleted", peer("bob")).await;
    assert_eq!((bob.unread, bob.mentions, bob.last.map(|last| last.message_id)), (1, 1, Some(third)));
    let delete = Change { channel: Some("team".parse().unwrap()), ..Change::delete_for_me(second) };
    im.send(Message::to(user(ALICE)).from(ALICE).content(delete)).await.unwrap();
    let team = seen(&mut device, "deleted in a channel", group("team")).await;
    assert_eq!(team.last.map(|last| last.message_id), Some(first), "recalled, and there");
    assert!(team.last_recalled.is_some());
}

#[tokio::test]
async fn what_the_back_end_says_itself_counts_with_a_system_user() {
    let system: UserId = "system".parse().unwrap();
    let config = Im::builder().system_user(system.clone());
    let im = config.start(crate::cluster::Cluster::embedded()).await.unwrap();
    let (zoe, yves): (UserId, UserId) = ("zoe".parse().unwrap(), "yves".parse().unwrap());
    im.send(Message::to(user(&zoe)).text("welcome!")).await.unwrap();
    let page = im.conversations(&zoe, 0, 10).await.unwrap();
    let [listed] = &page.conversations[..] else { panic!("{page:?}") };
    assert_eq!((&listed.state.conversation, listed.unread), (&Recipient::User(system.clone()), 1));
    assert_eq!(im.unread(&zoe).await.unwrap(), UnreadTotal { count: 1, more: false, conversations: 1 });

    // One message only, in whatever order the users are named; and none in the inbox of the system user.
    for names in [[&zoe, &yves], [&yves, &zoe]] {
        let message = Message::to(crate::backend::users(names)).text("news").idempotency_key("news");
        im.send(message).await.unwrap();
    }
    let unread = async |user: &UserId| im.unread(user).await.unwrap().count;
    assert_eq!((unread(&zoe).await, unread(&yves).await), (2, 1));
    assert!(im.conversations(&system, 0, 10).await.unwrap().conversations.is_empty());

    // A recall by the backend stays the backend's own.
    let sent = im.send(Message::to(user(&zoe)).text("wrong")).await.unwrap();
    im.change(user(&zoe), Change::recall(sent.message_id)).await.unwrap();
    assert_eq!(unread(&zoe).await, 2);
    let last = im.conversations(&zoe, 0, 10).await.unwrap().conversations.remove(0);
    assert!(last.last_recalled.is_some_and(|recalled| recalled.by.is_none()));
}

#[tokio::test]
async fn notices_and_silent_messages_are_not_unread() {
    let im = Im::with_cluster(crate::cluster::Cluster::embedded()).await.unwrap();
    let (bob, team): (UserId, crate::id::ChannelId) = ("bob".parse().unwrap(), "team".parse().unwrap());
    im.channel(&team).add_members(["alice", "bob"]).await.unwrap();
    let notice = crate::content::Notice::new("member.joined", "carol joined");
    im.send(Message::to(channel(&team)).content(notice)).await.unwrap();
    let silent = im.send(Message::to(channel(&team)).from("alice").text("score: 1").silent()).await.unwrap();
    im.send(Message::to(user(&bob)).from("alice").content(Content::text("moved in").silent())).await.unwrap();
    let page = im.conversations(&bob, 0, 10).await.unwrap();
    assert_eq!((page.unread, page.conversations.len()), (0, 2), "{page:?}");
    assert!(page.conversations.iter().all(|listed| listed.last.is_some()), "they show all the same");
    // An edit does not make a silent message count.
    let edit = Change::edit(silent.message_id, "score: 2");
    im.change(channel(&team), edit).await.unwrap();
    assert_eq!(im.unread(&bob).await.unwrap().count, 0);
    im.send(Message::to(channel(&team)).from("alice").text("hi")).await.unwrap();
    assert_eq!(im.unread(&bob).await.unwrap().count, 1);
}

#[tokio::test]
async fn what_counts_is_what_the_user_wants_to_count() {
    let im = Im::with_cluster(crate::cluster::Cluster::embedded()).await.unwrap();
    let (bob, team): (UserId, crate::id::ChannelId) = ("bob".parse().unwrap(), "team".parse().unwrap());
    im.channel(&team).add_members(["alice", "bob"]).await.unwrap();
    for text in 0..3 {
        im.send(Message::to(channel(&team)).from("alice").text(text.to_string())).await.unwrap();
    }
    let calling = Content::text("@bob").mention(bob.clone());
    im.send(Message::to(channel(&team)).from("alice").content(calling)).await.unwrap();
    let set = async |change| im.set_conversation(&bob, team.clone(), change).await.unwrap();
    let unread = async || im.unread(&bob).await.unwrap().count;
    let change = ConversationChange::new;
    assert_eq!(unread().await, 4);
    set(change().mentions_only(true)).await;
    assert_eq!(unread().await, 1);
    set(change().mentions_only(false).mute_until(u64::MAX)).await;
    assert_eq!(unread().await, 0);
    set(change().mute_until(1000)).await;
    assert_eq!(unread().await, 4, "that was in 1970");
    assert!(set(change().mark_unread(true)).await.marked_unread);
    assert!(!set(change().read(ReadMark::new(2, None))).await.marked_unread);
    assert_eq!(unread().await, 2);
    // A change older than the present state is ignored, also from a backend.
    let state = set(change().draft("now")).await;
    assert_eq!(state.draft, "now");
}
