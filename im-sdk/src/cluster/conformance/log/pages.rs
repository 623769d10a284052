//! What is read.

use bytes::Bytes;

use super::{append, channel, ends, fresh, id, seqs, seqs_back};
use crate::{
    cluster::{Appended, Ends, LogId, LogStore, NewEntry, Page, ReadLimit},
    id::MessageId,
};

pub(super) async fn check(log: &dyn LogStore) {
    pages_follow_each_other(log).await;
    pages_go_back(log).await;
    an_empty_log_has_no_entries(log).await;
    ids_are_found_by_seq(log).await;
    ends_are_in_the_order_of_the_logs(log).await;
    pages_end_where_their_bytes_do(log).await;
    pages_by_bytes_leave_nothing_out(log).await;
    a_replaced_entry_reads_as_the_new_one(log).await;
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

async fn pages_end_where_their_bytes_do(log: &dyn LogStore) {
    let inbox = fresh();
    for size in [100, 200, 300, 0, 1_000, 5] {
        append_bytes(log, &inbox, size).await;
    }
    for (after, entries, bytes, expected) in [
        (0, 10, 300, vec![1, 2]),
        (0, 10, 299, vec![1]),
        (0, 10, 600, vec![1, 2, 3, 4]),
        (0, 2, 600, vec![1, 2]),
        (4, 10, 999, vec![5]),
        (4, 10, 1_004, vec![5]),
        (4, 10, 1_005, vec![5, 6]),
        (0, 10, 0, vec![1]),
        (3, 10, 0, vec![4]),
        (6, 10, 0, vec![]),
        (0, 0, 1_000, vec![]),
        (0, 10, usize::MAX, vec![1, 2, 3, 4, 5, 6]),
    ] {
        let page = log.read(&inbox, after, ReadLimit::new(entries).with_bytes(bytes)).await.expect("read");
        assert_eq!((seqs_of(&page), page.first, page.last), (expected, 1, 6), "{bytes} bytes after {after}");
    }
    for (before, bytes, expected) in [
        (None, 1_005, vec![6, 5, 4]),
        (None, 1_004, vec![6]),
        (Some(6), 10, vec![5]),
        (Some(5), 500, vec![4, 3, 2]),
        (Some(4), 0, vec![3]),
        (Some(1), 0, vec![]),
    ] {
        let page = log.read_back(&inbox, before, ReadLimit::new(10).with_bytes(bytes)).await;
        let page = page.expect("read back");
        assert_eq!(
            (seqs_of(&page), page.first, page.last),
            (expected, 1, 6),
            "{bytes} bytes before {before:?}"
        );
    }
}

/// Whatever the sizes are: a store may read ahead by what it has seen.
async fn pages_by_bytes_leave_nothing_out(log: &dyn LogStore) {
    const COUNT: u64 = 120;
    const BYTES: usize = 40_000;
    let inbox = fresh();
    let size = |number: u64| if number.is_multiple_of(17) { 20_000 } else { (number * 7 % 300) as usize };
    for number in 1..=COUNT {
        append_bytes(log, &inbox, size(number)).await;
    }
    let limit = ReadLimit::new(100).with_bytes(BYTES);
    let fits = |page: &Page| {
        let bytes: usize = page.entries.iter().map(|entry| entry.payload.len()).sum();
        assert!(bytes <= BYTES && page.entries.iter().all(|entry| entry.payload.len() == size(entry.seq)));
    };
    let (mut read, mut after) = (Vec::new(), 0);
    while after < COUNT {
        let page = log.read(&inbox, after, limit).await.expect("read");
        fits(&page);
        read.append(&mut seqs_of(&page));
        after = read.last().copied().expect("a page before the end has an entry");
    }
    assert!(read.into_iter().eq(1..=COUNT));
    let (mut read, mut before) = (Vec::new(), None);
    while before != Some(1) {
        let page = log.read_back(&inbox, before, limit).await.expect("read back");
        fits(&page);
        read.append(&mut seqs_of(&page));
        before = read.last().copied();
    }
    assert!(read.into_iter().eq((1..=COUNT).rev()));
}

async fn a_replaced_entry_reads_as_the_new_one(log: &dyn LogStore) {
    let (inbox, other) = (fresh(), fresh());
    let mut appended = Vec::new();
    for _ in 0..40 {
        appended.push(append_bytes(log, &inbox, 50).await);
    }
    let replace = async |seq: u64, id: MessageId, payload: &'static [u8]| {
        log.replace(&inbox, seq, id, Bytes::from_static(payload)).await.expect("replace an entry")
    };
    let id_of = |seq: usize| appended[seq - 1].message_id;
    assert!(replace(3, id_of(3), b"first \0 try").await && replace(3, id_of(3), b"\r\n 7 8 \0").await);
    assert!(replace(20, id_of(20), b"").await, "also by nothing");
    assert!(!replace(4, id_of(3), b"x").await, "another message stands there");
    assert!(
        !replace(41, id(), b"x").await
            && !replace(0, id(), b"x").await
            && !replace(u64::MAX, id(), b"x").await
    );
    assert!(!log.replace(&other, 1, id_of(1), Bytes::new()).await.expect("replace in an empty log"));
    assert_eq!(ends(log, &other).await, (1, 0), "which stays empty");

    let says = |seq: u64| match seq {
        3 => b"\r\n 7 8 \0".to_vec(),
        20 => Vec::new(),
        _ => vec![7; 50],
    };
    let check = |page: &Page, seqs: &[u64]| {
        assert_eq!(seqs_of(page), seqs);
        for entry in &page.entries {
            assert_eq!(entry.message_id, id_of(entry.seq as usize), "ids stay");
            assert_eq!(entry.payload, says(entry.seq), "at {}", entry.seq);
        }
    };
    let all: Vec<u64> = (1..=40).collect();
    let limit = ReadLimit::new(100);
    check(&log.read(&inbox, 0, limit).await.expect("read"), &all);
    check(&log.read(&inbox, 2, ReadLimit::new(1)).await.expect("read"), &[3]);
    let back: Vec<u64> = all.into_iter().rev().collect();
    check(&log.read_back(&inbox, None, limit).await.expect("read back"), &back);
    let few = log.read(&inbox, 18, limit.with_bytes(100)).await.expect("read");
    check(&few, &[19, 20, 21]);
    assert_eq!(log.id_at(&inbox, 3).await.expect("look up an id"), Some(id_of(3)));
    assert_eq!(ends(log, &inbox).await, (1, 40));
    assert_eq!(append(log, &inbox).await.seq, 41, "the log goes on");
}

async fn append_bytes(log: &dyn LogStore, to: &LogId, size: usize) -> Appended {
    log.append(to, NewEntry::new(id(), vec![7; size].into())).await.expect("append")
}

fn seqs_of(page: &Page) -> Vec<u64> {
    page.entries.iter().map(|entry| entry.seq).collect()
}
