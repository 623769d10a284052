//! What is read.

use super::{append, channel, ends, fresh, seqs, seqs_back};
use crate::cluster::{Ends, LogStore};

pub(super) async fn check(log: &dyn LogStore) {
    pages_follow_each_other(log).await;
    pages_go_back(log).await;
    an_empty_log_has_no_entries(log).await;
    ids_are_found_by_seq(log).await;
    ends_are_in_the_order_of_the_logs(log).await;
}

async fn pages_follow_each_other(log: &dyn LogStore) {
    let inbox = fresh();
    for _ in 0..10 {
        append(log, &inbox).await;
    }
    for (after, limit, expected) in [
        (0, 4, vec![1, 2, 3, 4]),
        (4, 4, vec![5, 6, 7, 8]),
        (8, 4, vec![9, 10]),
        (10, 4, vec![]),
        (11, 4, vec![]),
        (u64::MAX, 4, vec![]),
        (9, 1, vec![10]),
        (0, 0, vec![]),
        (5, usize::MAX, vec![6, 7, 8, 9, 10]),
    ] {
        assert_eq!(seqs(log, &inbox, after, limit).await, (expected, 1, 10), "{limit} after {after}");
    }
}

async fn pages_go_back(log: &dyn LogStore) {
    let inbox = fresh();
    for _ in 0..10 {
        append(log, &inbox).await;
    }
    for (before, limit, expected) in [
        (None, 3, vec![10, 9, 8]),
        (Some(8), 3, vec![7, 6, 5]),
        (Some(3), 3, vec![2, 1]),
        (Some(1), 3, vec![]),
        (Some(0), 3, vec![]),
        (Some(11), 1, vec![10]),
        (Some(u64::MAX), 1, vec![10]),
        (None, 0, vec![]),
        (Some(4), usize::MAX, vec![3, 2, 1]),
    ] {
        assert_eq!(
            seqs_back(log, &inbox, before, limit).await,
            (expected, 1, 10),
            "{limit} before {before:?}"
        );
    }
}

async fn an_empty_log_has_no_entries(log: &dyn LogStore) {
    let inbox = fresh();
    assert_eq!(seqs(log, &inbox, 0, 10).await, (vec![], 1, 0));
    assert_eq!(seqs(log, &inbox, 7, 10).await, (vec![], 1, 0));
    assert_eq!(seqs_back(log, &inbox, None, 10).await, (vec![], 1, 0));
    assert_eq!(ends(log, &inbox).await, (1, 0));
    assert_eq!(log.id_at(&inbox, 1).await.expect("look up an id"), None);
    assert_eq!(append(log, &inbox).await.seq, 1, "looking changes nothing");
}

async fn ids_are_found_by_seq(log: &dyn LogStore) {
    let inbox = fresh();
    for _ in 0..3 {
        let appended = append(log, &inbox).await;
        let found = log.id_at(&inbox, appended.seq).await.expect("look up an id");
        assert_eq!(found, Some(appended.message_id));
    }
    for seq in [0, 4, u64::MAX] {
        assert_eq!(log.id_at(&inbox, seq).await.expect("look up an id"), None, "at {seq}");
    }
}

async fn ends_are_in_the_order_of_the_logs(log: &dyn LogStore) {
    let logs: Vec<_> = (0..40).map(|number| if number % 3 == 0 { channel() } else { fresh() }).collect();
    for (number, inbox) in logs.iter().enumerate() {
        for _ in 0..number % 4 {
            append(log, inbox).await;
        }
    }
    let asked = [&logs[..], &logs[..3]].concat();
    let found = log.ends(&asked).await.expect("ends");
    let expected = (0..40).chain(0..3).map(|number| Ends { first: 1, last: number % 4 });
    assert!(found.into_iter().eq(expected), "one for each log that was asked for, also if asked for twice");
    assert_eq!(log.ends(&[]).await.expect("ends of nothing"), []);
}
