//! Appends that count only once a replica has them.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use im_sdk::cluster::{ClusterConfig, LogError, LogId, LogStore, ReadLimit, RedisLog};
use im_tests::{RedisCluster, RedisServer, wait_until};
use redis::aio::MultiplexedConnection;

use super::{NONE, PATIENCE, bob, config, entry, numbered, order};

#[tokio::test]
async fn an_entry_that_no_replica_has_is_not_acknowledged() {
    let redis = RedisServer::start().await;
    let replica = redis.start_replica().await;
    let mut config = config(&redis);
    (config.min_replicas, config.request_timeout) = (1, Duration::from_secs(2));
    let log = RedisLog::connect(&config).await.unwrap();
    let first = log.append(&bob(), entry(1).with_dedup_key(numbered(1))).await.unwrap();
    assert_eq!((first.seq, first.repeated), (1, false));
    let at_replica: u64 = redis::cmd("XLEN")
        .arg("im:{u:bob}:inbox")
        .query_async(&mut replica.connection().await)
        .await
        .unwrap();
    assert_eq!(at_replica, 1, "Ok means that the replica has it");

    replica.stop();
    // Retries, each on another connection than the one that wrote, get the same result although they find the
    // entry there.
    let bob = bob();
    for _ in 0..2 {
        let retries = (0..8).map(|_| log.append(&bob, entry(2).with_dedup_key(numbered(2))));
        for result in join_all(retries).await {
            assert!(
                matches!(result, Err(LogError::Unconfirmed { acknowledged: 0, wanted: 1 })),
                "{result:?}"
            );
        }
    }
    let error = log.append(&bob, entry(3)).await.unwrap_err();
    assert!(matches!(error, LogError::Unconfirmed { .. }), "{error}");
    let error = log.append(&bob, entry(4).with_dedup_key(numbered(1))).await.unwrap_err();
    assert!(matches!(error, LogError::Stale { last: 2 }), "what the entry did wrong comes first: {error}");
    let page = log.read(&bob, 0, ReadLimit::new(10)).await.unwrap();
    assert_eq!(page.last, 3, "reading does not wait for the replica, and the entries may be there");

    replica.resume();
    wait_until("the replica confirms again", PATIENCE, async || {
        log.append(&bob, entry(5).with_dedup_key(numbered(2))).await.is_ok_and(|again| {
            assert_eq!((again.seq, again.repeated), (2, true));
            true
        })
    })
    .await;
}

#[tokio::test]
async fn replicas_confirm_in_a_cluster_too() {
    let redis = RedisCluster::start().await;
    let replicas = [redis.start_replica(0).await, redis.start_replica(1).await, redis.start_replica(2).await];
    let mut config = ClusterConfig::new(redis.addresses(), NONE);
    config.min_replicas = 1;
    let log = RedisLog::connect(&config).await.unwrap();
    let entries = || (0..30).map(|user| (LogId::Inbox(format!("user-{user}").parse().unwrap()), entry(user)));
    for result in log.append_many(entries().collect()).await {
        assert_eq!(result.unwrap().seq, 1);
    }
    let mut at_replicas = 0;
    for replica in &replicas {
        let size = order(&mut replica.connection().await, &["DBSIZE"]).await;
        at_replicas += redis::from_redis_value::<u64>(size).unwrap();
    }
    assert_eq!(at_replicas, 30, "Ok means that a replica has it");
    replicas.iter().for_each(RedisServer::stop);
    for result in log.append_many(entries().take(8).collect()).await {
        assert!(matches!(result, Err(LogError::Unconfirmed { acknowledged: 0, wanted: 1 })), "{result:?}");
    }
}

/// Number of connections on which appends wait for replicas.
const CONFIRMING: usize = 8;

#[tokio::test]
async fn many_unconfirmed_appends_end_in_time() {
    let redis = RedisServer::start().await;
    let replica = redis.start_replica().await;
    let mut config = config(&redis);
    config.min_replicas = 1;
    let log = Arc::new(RedisLog::connect(&config).await.unwrap());
    let mut connection = redis.connection().await;
    order(&mut connection, &["CONFIG", "RESETSTAT"]).await;
    replica.stop();
    let start = Instant::now();
    let ids = (0..500).map(|number| LogId::Inbox(format!("u{number}").parse().unwrap()));
    let appends = ids.zip(0..).map(|(id, number)| {
        let log = log.clone();
        tokio::spawn(async move {
            let error = log.append(&id, entry(number)).await.unwrap_err();
            (id, error)
        })
    });
    let (mut unconfirmed, mut not_appended) = (Vec::new(), Vec::new());
    for append in appends.collect::<Vec<_>>() {
        match append.await.unwrap() {
            (id, LogError::Unconfirmed { .. }) => unconfirmed.push(id),
            (id, LogError::NotAppended { .. }) => not_appended.push(id),
            (_, error) => panic!("{error}"),
        }
    }
    assert!(start.elapsed() < Duration::from_secs(2), "after {:?}", start.elapsed());
    // Each connection had appends in flight, and reported all appends of a batch after one `WAIT`.
    assert!(unconfirmed.len() >= CONFIRMING, "{} unconfirmed", unconfirmed.len());
    let waits = calls(&mut connection, "wait").await;
    assert!((1..=3 * CONFIRMING as u64).contains(&waits), "{waits} waits for 500 appends");
    // The reported outcome of each append is true.
    for (ids, last) in [(&unconfirmed, 1), (&not_appended, 0)] {
        let ends = log.ends(ids).await.unwrap();
        assert!(ends.iter().all(|ends| ends.last == last), "{last} expected: {ends:?}");
    }
    replica.resume();
    // Abandoned appends do not block later ones.
    wait_until("appends are confirmed", PATIENCE, async || log.append(&bob(), entry(1)).await.is_ok()).await;
}

#[tokio::test]
async fn many_appends_wait_for_replicas_together() {
    let redis = RedisServer::start().await;
    let _replica = redis.start_replica().await;
    let mut config = config(&redis);
    (config.min_replicas, config.request_timeout) = (1, Duration::from_secs(10));
    let log = RedisLog::connect(&config).await.unwrap();
    let mut connection = redis.connection().await;
    order(&mut connection, &["CONFIG", "RESETSTAT"]).await;
    let logs: Vec<LogId> =
        (0..2000).map(|number| LogId::Inbox(format!("u{number}").parse().unwrap())).collect();
    for result in join_all(logs.iter().map(|id| log.append(id, entry(1)))).await {
        assert_eq!(result.unwrap().seq, 1);
    }
    let waits = calls(&mut connection, "wait").await;
    assert!((1..500).contains(&waits), "{waits} waits for 2000 appends");
}

/// Returns how often Redis ran a command since its statistics were reset.
async fn calls(connection: &mut MultiplexedConnection, command: &str) -> u64 {
    let info: String = redis::cmd("INFO").arg("commandstats").query_async(connection).await.unwrap();
    let prefix = format!("cmdstat_{command}:calls=");
    let calls = info.lines().find_map(|line| line.strip_prefix(&*prefix)?.split(',').next()?.parse().ok());
    calls.unwrap_or(0)
}
