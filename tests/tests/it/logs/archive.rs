//! Archived messages are stored exactly once, whichever process is killed in between.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use im_sdk::{
    HistoryRange,
    backend::{
        Durability, Im, Message, SendError, channel,
        message_store::{MemoryMessageStore, MessageStore, SqlMessageStore, StoreQuery},
        user,
    },
    cluster::{ArchiveConfig, ArchiveQueue, Cluster, ClusterConfig, LogId},
};
use im_tests::{NatsServer, PostgresServer, RedisServer, stack::PATIENCE, wait_until};
use tokio::{runtime::Runtime, task::JoinSet, time::Instant};

fn config(redis: &RedisServer, nats: &NatsServer) -> ClusterConfig {
    let mut config = ClusterConfig::new([redis.address()], [nats.address()]);
    // A short time, so that messages of a killed archiver are redelivered during the test.
    let redeliver_after = Duration::from_secs(1);
    config.archive =
        Some(ArchiveConfig { max_bytes: 64 * 1024 * 1024, redeliver_after, ..ArchiveConfig::default() });
    config
}

fn message(text: &str) -> Message {
    Message::to(user("bob")).from("alice").text(text).durability(Durability::Archived)
}

/// Returns the ids of the stored messages of a user's inbox, in order; panics on a duplicate.
async fn stored(store: &dyn MessageStore, owner: &str) -> Vec<u64> {
    let log = LogId::Inbox(owner.parse().unwrap());
    let page = store.read(&log, &StoreQuery::new(HistoryRange::After(0), 100_000)).await.unwrap();
    assert!(!page.more);
    let seqs: BTreeSet<u64> = page.entries.iter().map(|entry| entry.seq).collect();
    assert_eq!(seqs.len(), page.entries.len(), "each place once");
    page.entries.iter().map(|entry| entry.message_id.as_u64()).collect()
}

async fn wait_until_archived(archive: &dyn ArchiveQueue) {
    wait_until("the archive is empty", 2 * PATIENCE, async || {
        archive.lag().await.is_ok_and(|lag| lag.total() == 0)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_sent_to_a_channel_is_stored_once() {
    let (redis, nats) = tokio::join!(RedisServer::start(), NatsServer::start());
    let im = Im::connect(config(&redis, &nats)).await.unwrap();
    let send = || Message::to(channel("team")).from("alice").text("hi").idempotency_key("k");
    let mut receipts = Vec::new();
    for _ in 0..2 {
        receipts.push(im.send(send().durability(Durability::Archived)).await.unwrap());
    }
    let store = Arc::new(MemoryMessageStore::new());
    let archiver = im.start_archiver(store.clone()).unwrap();
    wait_until_archived(im.cluster().archive().unwrap().as_ref()).await;
    archiver.shutdown().await;
    let log = LogId::Channel("team".parse().unwrap());
    let page = store.read(&log, &StoreQuery::new(HistoryRange::Newest, 10)).await.unwrap();
    let stored: Vec<_> = page.entries.iter().map(|entry| (entry.seq, entry.message_id)).collect();
    assert_eq!(stored, [(1, receipts[0].message_id)]);
    assert_eq!(receipts[0].message_id, receipts[1].message_id);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_ok_without_jetstream() {
    let (redis, mut nats) = tokio::join!(RedisServer::start(), NatsServer::start());
    let im = Im::connect(config(&redis, &nats)).await.unwrap();
    let mut ids = Vec::new();
    for number in 0..200 {
        ids.push(im.send(message(&number.to_string())).await.unwrap().message_id.as_u64());
    }
    nats.kill();
    let begun = Instant::now();
    let keyed = || message("while it is away").idempotency_key("key");
    let error = im.send(keyed()).await.unwrap_err();
    assert!(matches!(error, SendError::NotArchived { .. }), "{error}");
    assert!(begun.elapsed() < PATIENCE, "{:?}", begun.elapsed());
    // A message that is not archived does not need JetStream.
    im.send(message("logged").durability(Durability::Logged)).await.unwrap();
    nats.restart().await;
    let mut receipt = None;
    wait_until("NATS is back", PATIENCE, async || {
        receipt = im.send(keyed()).await.ok();
        receipt.is_some()
    })
    .await;
    let receipt = receipt.unwrap();
    assert!(receipt.repeated, "it was in the logs already");
    assert_eq!(receipt.durability, Durability::Archived);
    ids.push(receipt.message_id.as_u64());

    let store = Arc::new(MemoryMessageStore::new());
    let archiver = im.start_archiver(store.clone()).unwrap();
    wait_until_archived(&**im.cluster().archive().unwrap()).await;
    assert_eq!(stored(&*store, "bob").await, ids, "also what NATS had before it was killed");
    assert_eq!(stored(&*store, "alice").await, ids);
    archiver.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_jetstream_is_no_ok_either() {
    let (redis, nats) = tokio::join!(RedisServer::start(), NatsServer::start());
    let im = Im::connect(config(&redis, &nats)).await.unwrap();
    im.send(message("hi")).await.unwrap();
    nats.stop();
    let begun = Instant::now();
    let error = im.send(message("hi")).await.unwrap_err();
    assert!(matches!(error, SendError::NotArchived { .. }), "{error}");
    assert!(begun.elapsed() < PATIENCE, "{:?}", begun.elapsed());
    nats.resume();
}

#[tokio::test]
async fn without_an_archive_it_is_an_error() {
    let (redis, nats) = tokio::join!(RedisServer::start(), NatsServer::start());
    let im = Im::connect(ClusterConfig::new([redis.address()], [nats.address()])).await.unwrap();
    let error = im.send(message("hi")).await.unwrap_err();
    assert!(matches!(error, SendError::NoArchive), "{error}");
}

/// An archiver in a runtime of its own, which can be aborted at any point, like a process.
fn archiver(config: ClusterConfig, url: String) -> Runtime {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.spawn(async move {
        let im = Im::connect(config).await.unwrap();
        let store = loop {
            match SqlMessageStore::connect(&url).await {
                Ok(store) => break store,
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        };
        let _archiver = im.start_archiver(Arc::new(store)).unwrap();
        std::future::pending::<()>().await;
    });
    runtime
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn archivers_and_databases_that_die_lose_and_double_nothing() {
    const SENDERS: usize = 4;
    let (redis, nats, mut postgres) =
        tokio::join!(RedisServer::start(), NatsServer::start(), PostgresServer::start());
    let config = config(&redis, &nats);
    let im = Im::connect(config.clone()).await.unwrap();
    let acknowledged = Arc::new(Mutex::new(BTreeSet::new()));
    let over = Arc::new(AtomicBool::new(false));
    let mut senders = JoinSet::new();
    for sender in 0..SENDERS {
        let (im, acknowledged, over) = (im.clone(), acknowledged.clone(), over.clone());
        senders.spawn(async move {
            for number in 0.. {
                if over.load(Ordering::Relaxed) {
                    return;
                }
                let receipt = im.send(message(&format!("{sender} {number}"))).await.unwrap();
                acknowledged.lock().unwrap().insert(receipt.message_id.as_u64());
            }
        });
    }
    let store = SqlMessageStore::connect(&postgres.url()).await.unwrap();
    let mut running: Vec<Runtime> = (0..2).map(|_| archiver(config.clone(), postgres.url())).collect();
    for round in 1..=6 {
        let before = stored(&store, "bob").await.len();
        let what = format!("something is written in round {round}");
        wait_until(&what, 2 * PATIENCE, async || stored(&store, "bob").await.len() > before).await;
        if round % 3 == 0 {
            postgres.restart().await;
            wait_until("the database answers", PATIENCE, async || {
                let log = LogId::Inbox("bob".parse().unwrap());
                store.read(&log, &StoreQuery::new(HistoryRange::Newest, 1)).await.is_ok()
            })
            .await;
        }
        running.remove(0).shutdown_background();
        running.push(archiver(config.clone(), postgres.url()));
    }
    over.store(true, Ordering::Relaxed);
    senders.join_all().await;
    wait_until_archived(&**im.cluster().archive().unwrap()).await;
    running.into_iter().for_each(Runtime::shutdown_background);

    let acknowledged = acknowledged.lock().unwrap().clone();
    assert!(acknowledged.len() > 100, "{} messages", acknowledged.len());
    for owner in ["alice", "bob"] {
        let stored = stored(&store, owner).await;
        assert_eq!(stored.len(), acknowledged.len(), "once each");
        assert_eq!(stored.into_iter().collect::<BTreeSet<_>>(), acknowledged, "all that was acknowledged");
    }
}

#[tokio::test]
async fn an_embedded_archive_survives_its_process() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("im.redb");
    let im = Im::with_cluster(Cluster::embedded_at(&path).unwrap()).await.unwrap();
    let id = im.send(message("hi")).await.unwrap().message_id.as_u64();
    im.shutdown().await;

    let im = Im::with_cluster(Cluster::embedded_at(&path).unwrap()).await.unwrap();
    let url = format!("sqlite:{}", folder.path().join("messages.db").display());
    let store = Arc::new(SqlMessageStore::connect(&url).await.unwrap());
    let archiver = im.start_archiver(store.clone()).unwrap();
    wait_until_archived(&**im.cluster().archive().unwrap()).await;
    assert_eq!(archiver.written(), 2);
    archiver.shutdown().await;
    assert_eq!(stored(&*store, "bob").await, [id]);
}

/// Texts without repetition, which make the index as large as possible: more of them than a database writes within
/// its time limit.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn long_texts_behind_an_outage_are_archived_in_the_end() {
    const TEXTS: usize = 300;
    let (postgres, folder) = (PostgresServer::start().await, tempfile::tempdir().unwrap());
    for url in [postgres.url(), format!("sqlite:{}", folder.path().join("messages.db").display())] {
        let store = Arc::new(SqlMessageStore::connect(&url).await.unwrap());
        let im = Im::with_cluster(Cluster::embedded()).await.unwrap();
        // The messages that wait for the database.
        for _ in 0..TEXTS {
            let letters = (0..20_000).map(|_| rand::random_range('\u{4e00}'..'\u{9fa0}'));
            im.send(message(&letters.collect::<String>())).await.unwrap();
        }
        let archiver = im.start_archiver(store.clone()).unwrap();
        let mut written = 0;
        while archiver.lag().await.unwrap().total() > 0 {
            wait_until("it gets on", PATIENCE, async || {
                let before = std::mem::replace(&mut written, archiver.written());
                written > before || archiver.lag().await.unwrap().total() == 0
            })
            .await;
        }
        assert!(archiver.stall().is_none(), "{:?}", archiver.stall());
        let inbox = LogId::Inbox("bob".parse().unwrap());
        let page = store.read(&inbox, &StoreQuery::new(HistoryRange::Newest, 1)).await.unwrap();
        assert_eq!(page.entries[0].seq, TEXTS as u64);
        archiver.shutdown().await;
    }
}
