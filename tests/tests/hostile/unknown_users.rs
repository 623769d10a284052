//! Messages to users that do not exist.

use std::time::Duration;

use crate::arena::{Arena, UNNOTICED, attacker, publish_all, text};

/// Number of recipients, more than anybody writes to for the first time within seconds.
const MAX_GHOSTS: u64 = 200;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_that_nobody_has_seen_cost_little() {
    let arena = Arena::start().await;
    let mut mallory = attacker(&arena.stack, "mallory").await;
    let ghosts = (1..).map(|number| text(number, &format!("ghost-{number}"), "boo"));
    let attack = publish_all(&mut mallory, ghosts, Duration::from_secs(5));
    let (published, report) = arena.beside("one user writes to users that do not exist", attack).await;
    println!("{published:?}");
    assert!(published.accepted <= MAX_GHOSTS, "{published:?}");
    // An inbox, its record and other keys, for each user.
    assert!(report.redis_grew("keys") <= 6 * MAX_GHOSTS, "{report}");
    report.bystander.check(UNNOTICED);
    // The keys expire by themselves.
    let mut redis = arena.redis().connection().await;
    let keys: Vec<String> = redis::cmd("KEYS").arg("im:{u:ghost-*").query_async(&mut redis).await.unwrap();
    for key in keys {
        let left: i64 = redis::cmd("PTTL").arg(&key).query_async(&mut redis).await.unwrap();
        assert!(left > 0, "{key} stays for ever");
    }
}
