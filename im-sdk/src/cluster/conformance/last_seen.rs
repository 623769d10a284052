//! Conformance of [`LastSeenStore`].

use std::time::SystemTime;

use crate::{
    cluster::{LAST_SEEN_TTL, LastSeen, LastSeenStore},
    id::{Terminal, UserId},
};

/// Checks an implementation on a store that nothing else uses.
///
/// # Panics
/// When a rule is broken.
pub async fn check_last_seen(seen: &dyn LastSeenStore) {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("a clock").as_millis() as u64;
    let users = ["alice", "a:b", "carol"].map(|user| UserId::parse(user).expect("a user"));
    let of = |user: usize, terminal, at_ms| LastSeen { user: users[user].clone(), terminal, at_ms };

    seen.note_seen(&[]).await.expect("nobody");
    assert_eq!(seen.last_seen(&[]).await.expect("nobody"), Vec::<Vec<_>>::new());
    assert_eq!(sorted(seen, &users).await, [vec![], vec![], vec![]], "nobody was seen at first");

    let first = [of(0, Terminal::Web, now - 1000), of(0, Terminal::Ios, now - 5), of(1, Terminal::Web, now)];
    seen.note_seen(&first).await.expect("three");
    let expected =
        [vec![(Terminal::Web, now - 1000), (Terminal::Ios, now - 5)], vec![(Terminal::Web, now)], vec![]];
    assert_eq!(sorted(seen, &users).await, expected);

    // Times may come late, and in any order, even within one call.
    let late =
        [of(0, Terminal::Web, now - 2000), of(0, Terminal::Ios, now - 3), of(0, Terminal::Ios, now - 4)];
    seen.note_seen(&late).await.expect("three");
    let found = sorted(seen, &users[..1]).await;
    assert_eq!(
        found,
        [vec![(Terminal::Web, now - 1000), (Terminal::Ios, now - 3)]],
        "the latest time counts"
    );

    let old = now - LAST_SEEN_TTL.as_millis() as u64 - 1000;
    seen.note_seen(&[of(2, Terminal::Desktop, old)]).await.expect("one");
    assert_eq!(sorted(seen, &users[2..]).await, [vec![]], "that is too long ago");

    let user = UserId::parse("dave").expect("a user");
    let ahead = LastSeen { user: user.clone(), terminal: Terminal::Ios, at_ms: now + 3_600_000 };
    seen.note_seen(&[ahead]).await.expect("one");
    let found = sorted(seen, &[user]).await;
    assert!(found[0][0].1 < now + 600_000, "a clock that is ahead does not count");

    let swapped = [users[1].clone(), users[2].clone(), users[1].clone()];
    let found = sorted(seen, &swapped).await;
    assert_eq!(
        found,
        [vec![(Terminal::Web, now)], vec![], vec![(Terminal::Web, now)]],
        "in the order asked for"
    );

    let many: Vec<LastSeen> = (0..2000)
        .map(|number| LastSeen {
            user: UserId::parse(&format!("user-{number}")).expect("a user"),
            terminal: Terminal::Other,
            at_ms: now - number,
        })
        .collect();
    seen.note_seen(&many).await.expect("many");
    let users: Vec<UserId> = many.iter().map(|seen| seen.user.clone()).collect();
    let found = sorted(seen, &users).await;
    assert!(found.iter().zip(&many).all(|(found, seen)| *found == [(Terminal::Other, seen.at_ms)]));
}

async fn sorted(seen: &dyn LastSeenStore, users: &[UserId]) -> Vec<Vec<(Terminal, u64)>> {
    let mut found = seen.last_seen(users).await.expect("an answer");
    found.iter_mut().for_each(|times| times.sort_unstable());
    found
}
