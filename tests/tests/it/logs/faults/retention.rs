//! Expiry of logs in Redis, and operations that still work on a full Redis.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use im_sdk::{
    cluster::{
        AckStore as _, Clock, DeviceAck, LogBounds, LogError, LogId, LogStore, MemoryRoutes, NewEntry,
        ReadLimit, RedisLog,
    },
    id::MessageId,
};
use im_tests::RedisServer;
use redis::aio::MultiplexedConnection;

use super::{bob, config, entry, numbered, order};

fn from(writer: &str, number: u64) -> NewEntry {
    entry(number).by(writer.parse().unwrap())
}

fn inbox(user: &str) -> LogId {
    LogId::Inbox(user.parse().unwrap())
}

fn ack(user: &str, seq: u64) -> DeviceAck {
    DeviceAck::new(user.parse().unwrap(), "web/tab".parse().unwrap(), inbox(user), seq)
}

/// Returns the TTL: -2 if there is no such key, -1 if it never expires.
async fn ttl_ms(connection: &mut MultiplexedConnection, key: &str) -> i64 {
    redis::from_redis_value(order(connection, &["PTTL", key]).await).unwrap()
}

#[tokio::test]
async fn an_inbox_lasts_once_its_user_is_known_to_exist() {
    const DAY_MS: i64 = 24 * 60 * 60 * 1000;
    let redis = RedisServer::start().await;
    let log = RedisLog::connect(&config(&redis)).await.unwrap();
    let mut connection = redis.connection().await;
    for user in ["ghost", "reader", "writer", "told"] {
        log.append(&inbox(user), from("mallory", 1).with_dedup_key(numbered(1))).await.unwrap();
        let key = format!("im:{{u:{user}}}:inbox");
        for key in [key.clone(), format!("{key}:producer:phone")] {
            let ttl = ttl_ms(&mut connection, &key).await;
            assert!((29 * DAY_MS..=30 * DAY_MS).contains(&ttl), "{key} lasts {ttl} ms");
        }
        let ttl = ttl_ms(&mut connection, &format!("{key}:writers")).await;
        assert!(ttl > 0, "what is known of its writers ends too");
    }
    log.note_acks(&[ack("reader", 1)]).await.unwrap();
    log.append(&inbox("writer"), from("writer", 2)).await.unwrap();
    log.append(&inbox("told"), entry(2)).await.unwrap();
    for user in ["reader", "writer", "told"] {
        let key = format!("im:{{u:{user}}}:inbox");
        assert_eq!(ttl_ms(&mut connection, &key).await, -1, "{user}");
        log.append(&inbox(user), from("mallory", 3)).await.unwrap();
        assert_eq!(ttl_ms(&mut connection, &key).await, -1, "{user} does not become a ghost again");
    }
    log.append(&inbox("ghost"), from("mallory", 3)).await.unwrap();
    assert!(ttl_ms(&mut connection, "im:{u:ghost}:inbox").await > 0);
    let team = LogId::Channel("team".parse().unwrap());
    log.append(&team, from("mallory", 4)).await.unwrap();
    assert_eq!(ttl_ms(&mut connection, "im:{c:team}:channel").await, -1, "only members write into a channel");
}

#[tokio::test]
async fn nothing_is_trimmed_by_a_clock_that_is_not_known() {
    let redis = RedisServer::start().await;
    let mut config = config(&redis);
    config.log_bounds = LogBounds { max_age: Duration::from_secs(3600), ..LogBounds::default() };
    let clock = Clock::new(Arc::new(MemoryRoutes::new()));
    let log = RedisLog::connect(&config).await.unwrap().trimmed_by(clock.clone());
    let old = NewEntry::new(MessageId::first_at(1_735_700_000_000), Bytes::from_static(b"old"));
    log.append(&bob(), old).await.unwrap();
    let page = log.read(&bob(), 0, ReadLimit::new(10)).await.unwrap();
    assert_eq!((page.first, page.last), (1, 1), "it may be of now, for all that is known");
    clock.sample().await.unwrap();
    let page = log.read(&bob(), 0, ReadLimit::new(10)).await.unwrap();
    assert_eq!((page.first, page.last), (2, 1));
}

#[tokio::test]
async fn a_plain_append_is_one_command() {
    let redis = RedisServer::start().await;
    let log = RedisLog::connect(&config(&redis)).await.unwrap();
    let mut connection = redis.connection().await;
    // The first append makes the inbox persistent.
    log.append(&bob(), entry(0)).await.unwrap();
    order(&mut connection, &["CONFIG", "RESETSTAT"]).await;
    const APPENDS: u64 = 500;
    for number in 1..=APPENDS {
        log.append(&bob(), entry(number)).await.unwrap();
    }
    let stats = super::text(&mut connection, &["INFO", "commandstats"]).await;
    let calls = |command: &str| {
        let line = stats.lines().find_map(|line| line.strip_prefix(&format!("cmdstat_{command}:calls=")));
        line.and_then(|line| line.split(',').next()?.parse::<u64>().ok()).unwrap_or_default()
    };
    assert_eq!(calls("xadd"), APPENDS);
    assert_eq!(calls("persist"), 0, "{stats}");
    let looks = calls("evalsha") + calls("eval");
    assert!(looks <= APPENDS / 50, "{looks} looks at the log's size: {stats}");
}

#[tokio::test]
async fn a_full_redis_still_trims_and_takes_acknowledgements() {
    let redis = RedisServer::start().await;
    let mut config = config(&redis);
    config.log_bounds = LogBounds { max_age: Duration::from_secs(3600), ..LogBounds::default() };
    let log = RedisLog::connect(&config).await.unwrap();
    log.append(&bob(), from("carol", 1)).await.unwrap();
    let old = NewEntry::new(MessageId::first_at(1_735_700_000_000), Bytes::from_static(b"old"));
    log.append(&inbox("dave"), old).await.unwrap();
    let mut connection = redis.connection().await;
    order(&mut connection, &["CONFIG", "SET", "maxmemory", "1mb"]).await;
    for refused in
        [entry(2), entry(3).with_dedup_key(numbered(3)), from("carol", 4).with_dedup_key(numbered(4))]
    {
        let error = log.append(&bob(), refused).await.unwrap_err();
        assert!(matches!(error, LogError::NotAppended { .. }), "{error}");
        assert!(error.to_string().contains("its memory is full"), "{error}");
    }
    assert_eq!(log.note_acks(&[ack("bob", 1)]).await.unwrap(), [true]);
    assert_eq!(log.check_room(&[(bob(), from("carol", 5))]).await.len(), 1);
    let ends = log.ends(&[inbox("dave")]).await.unwrap()[0];
    assert_eq!((ends.first, ends.last), (2, 1), "what is too old is trimmed");
}
