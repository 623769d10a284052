//! Rules for trimming.

use std::time::Duration;

use bytes::Bytes;

use super::{append, ends, fresh, id_at, now_ms, seqs, seqs_back};
use crate::cluster::{LogBounds, LogId, LogStore, NewEntry, ReadLimit};

/// The number of entries that a log may keep beyond its bounds: stores trim in blocks.
const SLACK: u64 = 300;

const HOUR: Duration = Duration::from_secs(60 * 60);

pub(super) async fn check<L: LogStore>(open: &impl AsyncFn(LogBounds) -> L) {
    let short = open(LogBounds { max_entries: 50, ..LogBounds::default() }).await;
    long_logs_are_trimmed(&short, 50).await;
    let brief = open(LogBounds { max_age: HOUR, ..LogBounds::default() }).await;
    old_entries_are_trimmed(&brief).await;
    a_log_of_which_nothing_is_left_goes_on(&brief).await;
    only_the_old_end_is_trimmed(&brief).await;
    much_is_trimmed_at_once(&brief).await;
    what_is_trimmed_cannot_be_replaced(&brief).await;
}

async fn long_logs_are_trimmed(log: &dyn LogStore, max_entries: u64) {
    let inbox = fresh();
    let total = max_entries + 3 * SLACK;
    let mut ids = Vec::new();
    for _ in 0..total {
        ids.push(append(log, &inbox).await.message_id);
        let (first, last) = ends(log, &inbox).await;
        let kept = last + 1 - first;
        assert!(kept >= max_entries.min(last), "of {last} entries {kept} are left");
        assert!(kept <= max_entries + SLACK, "{kept} entries are left");
    }
    let (read, first, last) = seqs(log, &inbox, 0, usize::MAX).await;
    assert_eq!(last, total);
    assert!(first > 1 && read.into_iter().eq(first..=last), "the newest entries are left, without a gap");
    let (read, ..) = seqs_back(log, &inbox, Some(first + 2), 100).await;
    assert_eq!(read, [first + 1, first]);
    assert_eq!(log.id_at(&inbox, first - 1).await.expect("look up an id"), None, "what is trimmed has no id");
    let index = usize::try_from(first - 1).expect("an index");
    assert_eq!(log.id_at(&inbox, first).await.expect("look up an id"), Some(ids[index]));
}

async fn old_entries_are_trimmed(log: &dyn LogStore) {
    let inbox = fresh();
    append_old(log, &inbox, 5).await;
    for _ in 0..3 {
        append(log, &inbox).await;
    }
    assert_eq!(log.id_at(&inbox, 5).await.expect("look up an id"), None);
    assert_eq!(seqs(log, &inbox, 0, 2).await, (vec![6, 7], 6, 8), "the old ones are not read");
    assert_eq!(seqs_back(log, &inbox, None, 10).await, (vec![8, 7, 6], 6, 8));
    assert_eq!(ends(log, &inbox).await, (6, 8));
}

async fn a_log_of_which_nothing_is_left_goes_on(log: &dyn LogStore) {
    let inboxes = [fresh(), fresh(), fresh(), fresh()];
    for inbox in &inboxes {
        append_old(log, inbox, 3).await;
    }
    let [looked_at, read, read_back, untouched] = &inboxes;
    assert_eq!(ends(log, looked_at).await, (4, 3), "nothing is left");
    assert_eq!(seqs(log, read, 0, 10).await, (vec![], 4, 3));
    assert_eq!(seqs_back(log, read_back, None, 10).await, (vec![], 4, 3));
    for inbox in [looked_at, read, read_back, untouched] {
        assert_eq!(append(log, inbox).await.seq, 4, "numbers go on");
        assert_eq!(seqs(log, inbox, 0, 10).await, (vec![4], 4, 4));
    }
}

/// An entry is trimmed when all before it are, whatever its own age: a log has no holes.
async fn only_the_old_end_is_trimmed(log: &dyn LogStore) {
    let inbox = fresh();
    append(log, &inbox).await;
    append_old(log, &inbox, 3).await;
    append(log, &inbox).await;
    assert_eq!(seqs(log, &inbox, 0, 10).await, (vec![1, 2, 3, 4, 5], 1, 5));
}

async fn much_is_trimmed_at_once(log: &dyn LogStore) {
    let inbox = fresh();
    append_old(log, &inbox, 1_000).await;
    append(log, &inbox).await;
    assert_eq!(seqs(log, &inbox, 0, 10).await, (vec![1_001], 1_001, 1_001));
}

async fn what_is_trimmed_cannot_be_replaced(log: &dyn LogStore) {
    let inbox = fresh();
    append_old(log, &inbox, 1).await;
    let id = append(log, &inbox).await.message_id;
    assert_eq!(ends(log, &inbox).await, (2, 2));
    let mut replaced = Vec::new();
    for seq in [1, 2] {
        replaced.push(log.replace(&inbox, seq, id, Bytes::from_static(b"new")).await.expect("replace"));
    }
    assert_eq!(replaced, [false, true]);
    // From before the beginning of a trimmed log.
    let page = log.read(&inbox, 0, ReadLimit::new(10)).await.expect("read");
    assert!(page.entries.iter().map(|entry| (entry.seq, &*entry.payload)).eq([(2, &b"new"[..])]));
}

async fn append_old(log: &dyn LogStore, to: &LogId, count: usize) {
    let hours_ago = now_ms() - 2 * 60 * 60 * 1_000;
    let entry = || NewEntry::new(id_at(hours_ago), Bytes::from_static(b"old"));
    let entries = (0..count).map(|_| (to.clone(), entry()));
    for result in log.append_many(entries.collect()).await {
        result.expect("append");
    }
}
