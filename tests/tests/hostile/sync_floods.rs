//! Syncs of a large log, in sequence and in parallel.

use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use im_proto::{pb, pb::frame::Body};
use im_sdk::backend::{Message, user};
use im_tests::raw::Heard;
use tokio::time::{Instant, timeout_at};

use crate::arena::{Arena, UNNOTICED, attacker};

const ENTRIES: usize = 3_000;
const SYNCS: usize = 62;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn syncs_of_one_connection_wait_for_each_other() {
    let arena = Arena::start().await;
    let text = "x".repeat(300);
    let send =
        |_| async { arena.im.send(Message::to(user("mallory")).from("friend").text(&text)).await.unwrap() };
    stream::iter(0..ENTRIES).map(send).buffer_unordered(32).for_each(async |_| {}).await;
    let mut mallory = attacker(&arena.stack, "mallory").await;
    let attack = async {
        let all = vec![pb::Cursor { channel: String::new(), seq: 0, id: 0 }];
        for _ in 0..SYNCS {
            mallory.send_frame(Body::Sync(pb::Sync { cursors: all.clone() })).await;
        }
        let (mut pushes, mut done) = (0, 0);
        let deadline = Instant::now() + Duration::from_secs(10);
        while let Ok(heard) = timeout_at(deadline, mallory.heard()).await {
            match heard {
                Heard::Frame(Body::Push(_)) => pushes += 1,
                Heard::Frame(Body::SyncDone(_)) => done += 1,
                Heard::Frame(_) => {}
                Heard::Closed(code) => panic!("closed: {code}"),
            }
        }
        (pushes, done)
    };
    let ((pushes, done), report) = arena.beside("62 syncs of one connection at once", attack).await;
    println!("{pushes} pushes, {done} syncs done");
    // The running one, the latest that arrived meanwhile, and one more if a sync ended between two of them.
    assert!(pushes <= 4 * ENTRIES, "{pushes} entries were sent in {done} syncs");
    assert!(done > 0, "no sync ended");
    report.bystander.check(UNNOTICED);
}
