//! Rules for reads.

use bytes::Bytes;

use super::{append, channel, ends, fresh, id, seqs, seqs_back};
use crate::{
    cluster::{Appended, LogEnds, LogId, LogStore, NewEntry, Page, ReadLimit},
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
    let expected = (0..40).chain(0..3).map(|number| LogEnds { first: 1, last: number % 4 });
    assert!(found.into_iter().eq(expected), "one for each log that was asked for, also if asked for twice");
    assert_eq!(log.ends(&[]).await.expect("ends of nothing"), []);
}

/// A page may end before an entry that does not fit, but never without an entry.
async fn pages_end_where_their_bytes_do(log: &dyn LogStore) {
    const SIZES: [usize; 6] = [100, 200, 300, 0, 1_000, 5];
    let inbox = fresh();
    for size in SIZES {
        append_bytes(log, &inbox, size).await;
    }
    for bytes in [0, 99, 100, 299, 300, 600, 999, 1_004, 1_605, usize::MAX] {
        let limit = ReadLimit::new(10).with_bytes(bytes);
        for at in 0..=6 {
            let page = log.read(&inbox, at, limit).await.expect("read");
            let most: Vec<u64> = (at + 1..=6).collect();
            check_page(&page, &SIZES, &most, bytes);
            let page = log.read_back(&inbox, Some(at), limit).await.expect("read back");
            let most: Vec<u64> = (1..at).rev().collect();
            check_page(&page, &SIZES, &most, bytes);
        }
        let page = log.read_back(&inbox, None, limit).await.expect("read back");
        check_page(&page, &SIZES, &[6, 5, 4, 3, 2, 1], bytes);
    }
    for limit in [ReadLimit::new(2), ReadLimit::new(0)] {
        let page = log.read(&inbox, 0, limit).await.expect("read");
        assert_eq!(page.entries.len(), limit.entries);
    }
}

fn check_page(page: &Page, sizes: &[usize], most: &[u64], bytes: usize) {
    let seqs = seqs_of(page);
    assert_eq!((page.first, page.last), (1, 6));
    assert!(most.starts_with(&seqs), "{seqs:?} of {most:?}");
    assert_eq!(seqs.is_empty(), most.is_empty(), "one entry at least");
    let taken: usize = seqs.iter().map(|seq| sizes[*seq as usize - 1]).sum();
    assert!(taken <= bytes || seqs.len() == 1, "{taken} of {bytes} bytes");
    if bytes == usize::MAX {
        assert_eq!(seqs, most);
    }
}

/// This holds for entries of any size: a store may read ahead by the sizes that it has seen.
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
    let few = log.read(&inbox, 18, limit.with_bytes(200)).await.expect("read");
    let seqs: Vec<u64> = (19..).take(few.entries.len()).collect();
    check(&few, &seqs);
    assert!((1..=5).contains(&seqs.len()), "as many as fit: {seqs:?}");
    // Beyond an end.
    let beyond = log.read_back(&inbox, Some(1_000), ReadLimit::new(38)).await.expect("read back");
    check(&beyond, &(3..=40).rev().collect::<Vec<u64>>());
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
