use std::{fs, os::unix::fs::PermissionsExt, time::Duration};

use bytes::Bytes;
use redb::{ReadableDatabase, ReadableTableMetadata};
use tempfile::TempDir;

use super::*;
use crate::cluster::{
    conformance::check_log,
    traits::{DedupKey, ReadLimit},
};

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn open(folder: &TempDir) -> Result<DiskLog, OpenLogError> {
    DiskLog::open(folder.path().join("im.redb"), LogBounds::default())
}

fn bob() -> LogId {
    LogId::Inbox("bob".parse().unwrap())
}

fn id(number: u64) -> MessageId {
    MessageId::from_u64((u64::MAX >> 1) - number).unwrap()
}

fn entry(number: u64) -> NewEntry {
    NewEntry::new(id(number), Bytes::from(format!("message {number}")))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn conforms() {
    let folder = folder();
    let count = std::sync::atomic::AtomicU32::new(0);
    check_log(async |bounds| {
        let number = count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        DiskLog::open(folder.path().join(number.to_string()), bounds).unwrap()
    })
    .await;
}

#[tokio::test]
async fn everything_is_there_when_it_is_opened_again() {
    let folder = folder();
    let once = DedupKey::Producer { name: "phone".into(), number: 7, digest: [1; 16] };
    let log = open(&folder).unwrap();
    log.append(&bob(), entry(1)).await.unwrap();
    log.append(&bob(), entry(2).with_dedup_key(once.clone())).await.unwrap();
    drop(log);
    let log = open(&folder).unwrap();
    let page = log.read(&bob(), 0, ReadLimit::new(10)).await.unwrap();
    assert_eq!((page.first, page.last, page.entries.len()), (1, 2, 2));
    assert_eq!((page.entries[1].message_id, &page.entries[1].payload[..]), (id(2), &b"message 2"[..]));
    let again = log.append(&bob(), entry(3).with_dedup_key(once)).await.unwrap();
    assert_eq!(again, Appended { seq: 2, message_id: id(2), repeated: true });
    assert_eq!(log.append(&bob(), entry(4)).await.unwrap().seq, 3);
}

#[tokio::test]
async fn appends_share_commits() {
    let folder = folder();
    let (log, bob) = (open(&folder).unwrap(), bob());
    let appends = (0..5_000)
        .map(|number| log.append(&bob, NewEntry::new(id(number), Bytes::new())))
        .collect::<Vec<_>>();
    // One after the other, this takes as many fsyncs.
    for appended in futures_util::future::join_all(appends).await {
        appended.unwrap();
    }
    assert_eq!(log.ends(&[bob]).await.unwrap(), [LogEnds { first: 1, last: 5_000 }]);
}

#[tokio::test]
async fn records_that_ran_out_are_removed() {
    let folder = folder();
    let log = open(&folder).unwrap();
    let once = |number: u64, ttl| DedupKey::Key { key: number.to_string(), ttl, digest: [0; 16] };
    log.append(&bob(), entry(0).with_dedup_key(once(0, Duration::from_secs(600)))).await.unwrap();
    for number in 1..1_000 {
        log.append(&bob(), entry(number).with_dedup_key(once(number, Duration::from_millis(1))))
            .await
            .unwrap();
    }
    let records = log.database.begin_read().unwrap().open_table(tables::RECORDS).unwrap();
    assert!(records.len().unwrap() < 100, "{} records", records.len().unwrap());
    assert!(records.get((1, "key:0")).unwrap().is_some(), "what lasts stays");
}

#[tokio::test]
async fn logs_that_nobody_uses_keep_nothing_that_is_too_old() {
    let folder = folder();
    let log = open(&folder).unwrap();
    let entries: Vec<(LogId, NewEntry)> = (0..2_000)
        .map(|ghost| {
            let inbox = LogId::Inbox(format!("ghost-{ghost}").parse().unwrap());
            let old = MessageId::first_at(1_735_700_000_000);
            (inbox, NewEntry::new(old, Bytes::from_static(b"hi")).by("mallory".parse().unwrap()))
        })
        .collect();
    for some in entries.chunks(20) {
        for appended in log.append_many(some.to_vec()).await {
            appended.unwrap();
        }
    }
    let transaction = log.database.begin_read().unwrap();
    let kept = transaction.open_table(tables::ENTRIES).unwrap().len().unwrap();
    assert!(kept < 1_000, "{kept} entries");
    assert_eq!(transaction.open_table(tables::WRITERS).unwrap().len().unwrap(), kept);
}

#[test]
fn a_file_is_opened_once() {
    let folder = folder();
    let first = open(&folder).unwrap();
    let error = open(&folder).unwrap_err();
    assert!(matches!(error, OpenLogError::InUse { .. }), "{error}");
    assert!(error.to_string().contains("im.redb is already open"), "{error}");
    drop(first);
    open(&folder).unwrap();
}

#[test]
fn a_path_that_cannot_be_written_is_named() {
    let folder = folder();
    let error = DiskLog::open(folder.path().join("missing/im.redb"), LogBounds::default()).unwrap_err();
    assert!(matches!(error, OpenLogError::Inaccessible { .. }), "{error}");
    assert!(error.to_string().contains("missing/im.redb cannot be used: No such file"), "{error}");
    let error = DiskLog::open(folder.path(), LogBounds::default()).unwrap_err();
    assert!(matches!(error, OpenLogError::Inaccessible { .. }), "a folder: {error}");
    drop(open(&folder).unwrap());
    let path = folder.path().join("im.redb");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).unwrap();
    // A user who may write everything finds nothing wrong.
    if fs::OpenOptions::new().write(true).open(&path).is_err() {
        let error = open(&folder).unwrap_err();
        assert!(matches!(error, OpenLogError::Inaccessible { .. }), "{error}");
    }
}

#[tokio::test]
async fn damage_is_an_error() {
    for (what, damage) in damages() {
        let folder = folder();
        let log = open(&folder).unwrap();
        for number in 0..200 {
            log.append(&bob(), entry(number)).await.unwrap();
        }
        drop(log);
        let path = folder.path().join("im.redb");
        let mut bytes = fs::read(&path).unwrap();
        damage(&mut bytes);
        fs::write(&path, bytes).unwrap();
        let Err(error) = open(&folder) else { panic!("{what}: nothing is noticed") };
        assert!(matches!(error, OpenLogError::Unreadable { .. }), "{what}: {error:?}");
        println!("{what}: {error}");
    }
}

type Damage = fn(&mut Vec<u8>);

fn damages() -> [(&'static str, Damage); 4] {
    [
        ("another kind of file", |bytes| *bytes = b"#!/bin/sh\necho hello\n".to_vec()),
        ("the header is overwritten", |bytes| bytes[..512].fill(0)),
        ("the end is cut off", |bytes| bytes.truncate(8_192)),
        ("random bytes", |bytes| bytes.iter_mut().for_each(|byte| *byte = rand::random())),
    ]
}
