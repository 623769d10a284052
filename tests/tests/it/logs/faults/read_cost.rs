//! Redis commands per read, and the keys beside a log.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::join_all;
use im_sdk::{
    Conversation, HistoryQuery,
    backend::Im,
    cluster::{
        Cluster, ClusterConfig, LogBounds, LogEnds, LogId, LogStore, MemoryBus, MemoryRoutes, NewEntry,
        ReadLimit, RedisLog,
    },
    id::{MessageId, UserId},
};
use im_tests::RedisServer;
use redis::{InfoDict, aio::MultiplexedConnection};

use super::{NONE, bob, entry};

const LARGE: usize = 60_000;

/// Returns the number of bytes that Redis has sent so far.
async fn sent(connection: &mut MultiplexedConnection) -> u64 {
    let info: InfoDict = redis::cmd("INFO").arg("stats").query_async(connection).await.unwrap();
    info.get("total_net_output_bytes").unwrap()
}

fn large(number: u64) -> NewEntry {
    NewEntry { payload: Bytes::from(vec![b'x'; LARGE]), ..entry(number) }
}

/// Returns a log of large entries.
async fn large_log(redis: &RedisServer, count: u64) -> RedisLog {
    let mut config = ClusterConfig::new([redis.address()], NONE);
    // A limit under which no entry is trimmed.
    config.log_bounds.max_bytes = 64 * 1024 * 1024;
    let log = RedisLog::connect(&config).await.unwrap();
    for numbers in (1..=count).collect::<Vec<_>>().chunks(50) {
        let entries = numbers.iter().map(|number| (bob(), large(*number))).collect();
        for appended in log.append_many(entries).await {
            appended.unwrap();
        }
    }
    log
}

#[tokio::test]
async fn redis_sends_what_a_read_brings() {
    let redis = RedisServer::start().await;
    let log = Arc::new(large_log(&redis, 300).await);
    let mut connection = redis.connection().await;
    // Gets the one-time costs of a first read out of the way: connections, and scripts that Redis does not
    // know yet.
    log.read(&bob(), 0, ReadLimit::new(1)).await.unwrap();
    log.id_at(&bob(), 1).await.unwrap();
    log.ends(&[bob()]).await.unwrap();

    let before = sent(&mut connection).await;
    for _ in 0..10 {
        assert_eq!(log.ends(&[bob()]).await.unwrap(), [LogEnds { first: 1, last: 300 }]);
        assert!(log.id_at(&bob(), 150).await.unwrap().is_some());
    }
    let places = sent(&mut connection).await - before;
    assert!(places < 20_000, "{places} bytes for twenty places, without a payload");

    let before = sent(&mut connection).await;
    let page = log.read_back(&bob(), None, ReadLimit::new(256).with_bytes(100_000)).await.unwrap();
    assert_eq!((page.entries.len(), page.entries[0].seq, page.first, page.last), (1, 300, 1, 300));
    let page = sent(&mut connection).await - before;
    assert!(page < LARGE as u64 + 10_000, "{page} bytes for one entry");

    // Small requests for entries that do not exist.
    let cluster = Cluster::new(Arc::new(MemoryRoutes::new()), Arc::new(MemoryBus::new()), log);
    let im = Im::with_cluster(cluster).await.unwrap();
    let user: UserId = "bob".parse().unwrap();
    let before = sent(&mut connection).await;
    let missing = HistoryQuery::before_message(MessageId::from_u64(7).unwrap());
    for result in join_all((0..16).map(|_| im.history(&user, &Conversation::Inbox, missing.clone(), 1))).await
    {
        result.unwrap_err();
    }
    let missing = sent(&mut connection).await - before;
    assert!(missing < 16 * 1024 * 1024, "{missing} bytes for sixteen messages that are not there");
}

#[tokio::test]
async fn many_reads_at_once_wait_for_each_other() {
    let redis = RedisServer::start().await;
    let log = large_log(&redis, 100).await;
    let bob = bob();
    let reads = (0..90).map(|number| log.read(&bob, number, ReadLimit::new(256)));
    for (number, page) in join_all(reads).await.into_iter().enumerate() {
        let page = page.unwrap();
        assert_eq!((page.entries.len(), page.entries[0].seq), (4, number as u64 + 1));
    }
}

#[tokio::test]
async fn replaced_entries_end_with_their_log() {
    let redis = RedisServer::start().await;
    let mut config = ClusterConfig::new([redis.address()], NONE);
    config.log_bounds = LogBounds { max_entries: 100, ..LogBounds::default() };
    let log = RedisLog::connect(&config).await.unwrap();
    let mut connection = redis.connection().await;
    let mut replaced = 0;
    for number in 1..=1_000 {
        let appended = log.append(&bob(), entry(number)).await.unwrap();
        if number % 5 == 0 {
            assert!(log.replace(&bob(), appended.seq, appended.message_id, Bytes::new()).await.unwrap());
            replaced += 1;
        }
    }
    let kept: u64 =
        redis::cmd("ZCARD").arg("im:{u:bob}:inbox:replaced").query_async(&mut connection).await.unwrap();
    assert!(kept < replaced / 2, "of {replaced} entries {kept} are kept, and the log has trimmed most");
    let ttl: i64 =
        redis::cmd("PTTL").arg("im:{u:bob}:inbox:replaced").query_async(&mut connection).await.unwrap();
    assert!(ttl > 0 && ttl <= LogBounds::default().max_age.as_millis() as i64, "{ttl}");
    let page = log.read(&bob(), 900, ReadLimit::new(100)).await.unwrap();
    let says = |seq: u64| if seq.is_multiple_of(5) { String::new() } else { seq.to_string() };
    assert_eq!(page.entries.len(), 100);
    assert!(page.entries.iter().all(|entry| entry.payload == says(entry.seq)));
}

/// Tests that a back end reports a key that another program has overwritten.
#[tokio::test]
async fn what_is_no_log_is_named() {
    let redis = RedisServer::start().await;
    let log = RedisLog::connect(&ClusterConfig::new([redis.address()], NONE)).await.unwrap();
    let mut connection = redis.connection().await;
    let add = |key: &str, fields: &[&str]| {
        let mut command = redis::cmd("XADD");
        command.arg(key).arg("0-*").arg(fields);
        command
    };
    let () =
        add("im:{u:bob}:inbox", &["i", "no number", "p", "x"]).query_async(&mut connection).await.unwrap();
    let error = log.read(&bob(), 0, ReadLimit::new(10)).await.unwrap_err().to_string();
    assert!(error.contains("cannot be read: im:{u:bob}:inbox"), "{error}");
    assert!(log.id_at(&bob(), 1).await.is_err());
    let carol = LogId::Inbox("carol".parse().unwrap());
    let () = add("im:{u:carol}:inbox", &["i", "7"]).query_async(&mut connection).await.unwrap();
    assert!(log.read(&carol, 0, ReadLimit::new(10)).await.is_err());
    let dave = LogId::Inbox("dave".parse().unwrap());
    let () = redis::cmd("SET").arg("im:{u:dave}:inbox").arg("x").query_async(&mut connection).await.unwrap();
    assert!(log.read(&dave, 0, ReadLimit::new(10)).await.is_err() && log.ends(&[dave]).await.is_err());
}
