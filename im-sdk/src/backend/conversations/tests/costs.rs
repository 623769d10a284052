//! The cost of a list, whoever fills the inbox.

use std::sync::Arc;

use crate::{
    ReadMark,
    backend::{
        ConversationPage, Im, MAX_CONVERSATION_PAGE_BYTES, Message, channel, conversations::Which,
        test_support::metered_log::MeteredLog,
    },
    cluster::ReadLimit,
    content::{Change, Content},
    id::{MessageId, UserId},
    proto::limits::MAX_FRAME_BYTES,
};

const LARGE: usize = 60_000;

fn id(number: u64) -> u64 {
    MessageId::first_at(2_000_000_000_000).as_u64() + number * 5_000_000
}

fn bob() -> UserId {
    "bob".parse().unwrap()
}

async fn back_end() -> (Arc<MeteredLog>, Im) {
    let (log, cluster) = MeteredLog::unbounded();
    (log, Im::with_cluster(cluster).await.unwrap())
}

fn names(page: &ConversationPage) -> Vec<String> {
    let names = page.conversations.iter().map(|listed| listed.state.conversation.as_user());
    names.map(|user| user.unwrap().to_string()).collect()
}

#[tokio::test]
async fn a_list_looks_at_so_many_bytes_and_keeps_none_that_it_does_not_show() {
    let (log, im) = back_end().await;
    // Twenty megabytes, of 350 senders.
    for number in 1..=350 {
        log.say("bob", &format!("peer-{number}"), id(number), LARGE).await;
    }
    let limit = ReadLimit::new(50).with_bytes(MAX_FRAME_BYTES);
    let list = im.inner.conversations.lists.read(&bob(), Which::All, 0, limit).await.unwrap();
    let read = log.take();
    assert!(read.bytes <= 9 * 1024 * 1024 && read.largest <= ReadLimit::USUAL_BYTES, "{read:?}");
    assert_eq!((list.conversations.len(), list.more), (1, true), "one fits into a frame");
    let last = list.conversations[0].last.as_ref().unwrap();
    assert!(last.seq == 350 && last.message.len() > LARGE);
    assert!(list.unread.more || list.unread.count > 100, "the newest are counted: {:?}", list.unread);

    // Page by page, each of them comes once, with its text.
    let (mut seen, mut skip) = (Vec::new(), 0);
    loop {
        let page = im.conversations(&bob(), skip, 40).await.unwrap();
        let bytes: usize = page.conversations.iter().map(|listed| text(&listed.last)).sum();
        assert!(bytes <= MAX_CONVERSATION_PAGE_BYTES, "{bytes}");
        skip += page.conversations.len();
        seen.extend(names(&page));
        if !page.more {
            break;
        }
        assert!(!page.conversations.is_empty());
    }
    let newest = (1..=350).rev().map(|number| format!("peer-{number}")).take(seen.len());
    assert!(seen.len() > 100 && seen.iter().cloned().eq(newest), "{seen:?}");
}

fn text(last: &Option<crate::backend::LoggedMessage>) -> usize {
    let content = &last.as_ref().unwrap().content;
    content.as_text().map_or(0, str::len)
}

#[tokio::test]
async fn large_messages_and_large_edits_show_as_they_are() {
    let (log, im) = back_end().await;
    let long = |letter: &str| letter.repeat(LARGE);
    log.say("bob", "alice", id(1), 5).await;
    log.say("bob", "carol", id(2), LARGE).await;
    log.say("bob", "dave", id(3), LARGE).await;
    log.say("bob", "erin", id(4), 5).await;
    let target = |number| MessageId::from_u64(id(number)).unwrap();
    for (from, number, change) in [
        ("alice", 5, Change::edit(target(1), Content::text(long("a")))),
        ("alice", 6, Change::edit(target(1), Content::text(long("b")).mention(bob()))),
        ("dave", 7, Change::edit(target(3), Content::text("short"))),
        ("carol", 8, Change::recall(target(2))),
        ("erin", 9, Change::edit(target(4), Content::text("ho"))),
    ] {
        log.say_as("bob", from, id(number), change.into()).await;
    }
    let page = im.conversations(&bob(), 0, 10).await.unwrap();
    let shown: Vec<_> = page
        .conversations
        .iter()
        .map(|listed| {
            let says = listed.last.as_ref().unwrap().content.as_text().map(str::to_owned);
            (listed.state.conversation.as_user().unwrap().to_string(), says, listed.unread, listed.mentions)
        })
        .collect();
    assert_eq!(
        shown,
        [
            ("erin".to_owned(), Some("ho".to_owned()), 1, 0),
            ("dave".to_owned(), Some("short".to_owned()), 1, 0),
            ("carol".to_owned(), None, 0, 0),
            ("alice".to_owned(), Some(long("b")), 1, 1),
        ]
    );
    let carol = &page.conversations[2];
    assert!(carol.last_recalled.is_some() && carol.last.as_ref().unwrap().content.is_empty());
    assert_eq!(carol.last.as_ref().unwrap().from, Some("carol".parse().unwrap()));
}

#[tokio::test]
async fn channels_cost_so_many_bytes_together() {
    let (log, im) = back_end().await;
    // Thirty megabytes in ten channels, all unread.
    let text = "x".repeat(LARGE);
    for number in 0..10 {
        let name = format!("team-{number}");
        im.channel(&*name).add_members(["bob"]).await.unwrap();
        for _ in 0..50 {
            im.send(Message::to(channel(&*name)).from("carol").text(&text)).await.unwrap();
        }
    }
    log.take();
    let limit = ReadLimit::new(5).with_bytes(MAX_FRAME_BYTES);
    let list = im.inner.conversations.lists.read(&bob(), Which::All, 0, limit).await.unwrap();
    let read = log.take();
    // Channels that are read at the same time may each read one page more.
    assert!(read.bytes <= (8 + 5) * 1024 * 1024 && read.largest <= ReadLimit::USUAL_BYTES, "{read:?}");
    assert_eq!((list.conversations.len(), list.more, list.unread.count), (1, true, 500));
    let mark = crate::ConversationChange::new().read(ReadMark::new(50, None));
    for number in 0..10 {
        let name: crate::id::ChannelId = format!("team-{number}").parse().unwrap();
        im.set_conversation(&bob(), name, mark.clone()).await.unwrap();
    }
    log.take();
    let list = im.inner.conversations.lists.read(&bob(), Which::All, 0, limit).await.unwrap();
    let read = log.take();
    assert!(read.bytes <= 15 * LARGE, "the last messages, and those of a page again: {read:?}");
    assert_eq!(list.unread.count, 0);
}
