//! A Redis, or a process with a log in a file, that is killed, frozen, or refuses writes.

use std::{
    io::{BufRead, BufReader, Write},
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use im_sdk::{
    cluster::{Appended, DedupKey, DiskLog, LogBounds, LogError, LogId, LogStore, ReadLimit, RedisLog},
    id::MessageId,
};
use im_tests::{RedisOptions, RedisServer, wait_until};

use super::{PATIENCE, all_entries, bob, check, config, entry, keep_appending, last, numbered, order};

#[tokio::test]
async fn a_killed_redis_comes_back_with_all_that_it_acknowledged() {
    let mut redis = RedisServer::start_with(RedisOptions { append_only: true, ..Default::default() }).await;
    let log = Arc::new(RedisLog::connect(&config(&redis)).await.unwrap());
    let stop = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..4)
        .map(|writer| {
            let once = |number| (number % 2 == 0).then(|| numbered(number));
            keep_appending(&log, &LogId::Inbox(format!("user-{writer}").parse().unwrap()), 1, &stop, once)
        })
        .collect();
    let first = LogId::Inbox("user-0".parse().unwrap());
    wait_until("appends", PATIENCE, async || last(&*log, &first).await > Some(100)).await;
    redis.kill();
    stop.store(true, Ordering::Relaxed);
    redis.restart().await;
    wait_until("Redis is back", PATIENCE, async || last(&*log, &first).await.is_some()).await;
    for (writer, task) in writers.into_iter().enumerate() {
        let (acknowledged, failed) = task.await.unwrap();
        let unknown = failed.iter().all(|error| matches!(error, LogError::OutcomeUnknown { .. }));
        assert!(unknown, "what was under way is in doubt: {failed:?}");
        let id = LogId::Inbox(format!("user-{writer}").parse().unwrap());
        check(&all_entries(&*log, &id).await, &acknowledged);
    }
}

#[tokio::test]
async fn a_frozen_redis_fails_requests_in_time() {
    let redis = RedisServer::start().await;
    let _replica = redis.start_replica().await;
    for min_replicas in [0, 1] {
        let mut config = config(&redis);
        config.min_replicas = min_replicas;
        let log = RedisLog::connect(&config).await.unwrap();
        let before = last(&log, &bob()).await;
        redis.stop();
        let start = Instant::now();
        let error = log.append(&bob(), entry(1)).await.unwrap_err();
        assert!(matches!(error, LogError::OutcomeUnknown { .. }), "{error}");
        assert!(error.to_string().contains("unknown"), "{error}");
        for result in
            log.append_many(vec![(bob(), entry(2)), (bob(), entry(3).with_dedup_key(numbered(1)))]).await
        {
            // The silent connection was abandoned: appends that were never sent are known not to have
            // happened.
            let is_told =
                matches!(result, Err(LogError::OutcomeUnknown { .. } | LogError::NotAppended { .. }));
            assert!(is_told, "{result:?}");
        }
        let error = log.read(&bob(), 0, ReadLimit::new(10)).await.unwrap_err();
        assert!(matches!(error, LogError::Unavailable { action: "read a log", .. }), "{error}");
        assert!(start.elapsed() < Duration::from_secs(3), "after {:?}", start.elapsed());
        redis.resume();
        wait_until("the log is back", PATIENCE, async || {
            log.read(&bob(), 0, ReadLimit::new(10)).await.is_ok()
        })
        .await;
        wait_until("appends work", PATIENCE, async || log.append(&bob(), entry(4)).await.is_ok()).await;
        assert!(last(&log, &bob()).await > before);
    }
}

#[tokio::test]
async fn what_redis_refuses_was_not_appended() {
    let redis = RedisServer::start().await;
    let log = RedisLog::connect(&config(&redis)).await.unwrap();
    log.append(&bob(), entry(1).with_dedup_key(numbered(1))).await.unwrap();
    let mut admin = redis.connection().await;
    order(&mut admin, &["CONFIG", "SET", "maxmemory", "1"]).await;
    for entry in [entry(2), entry(2).with_dedup_key(numbered(2))] {
        let error = log.append(&bob(), entry).await.unwrap_err();
        assert!(matches!(error, LogError::NotAppended { .. }), "{error}");
    }
    order(&mut admin, &["CONFIG", "SET", "maxmemory", "0"]).await;
    assert_eq!(log.append(&bob(), entry(3).with_dedup_key(numbered(2))).await.unwrap().seq, 2);
    // A foreign value under a record's key must not cause a second append.
    order(&mut admin, &["SET", "im:{u:bob}:inbox:producer:phone", "nonsense"]).await;
    let error = log.append(&bob(), entry(4).with_dedup_key(numbered(3))).await.unwrap_err();
    assert!(matches!(error, LogError::NotAppended { .. }), "{error}");
}

#[tokio::test]
async fn forgotten_scripts_are_sent_again() {
    let redis = RedisServer::start().await;
    let log = RedisLog::connect(&config(&redis)).await.unwrap();
    for number in 1..=3 {
        order(&mut redis.connection().await, &["SCRIPT", "FLUSH"]).await;
        let with = entry(number).with_dedup_key(numbered(number));
        let results = log.append_many(vec![(bob(), with), (bob(), entry(100 + number))]).await;
        let mut seqs: Vec<u64> = results.into_iter().map(|result| result.unwrap().seq).collect();
        seqs.sort_unstable();
        assert_eq!(seqs, [2 * number - 1, 2 * number]);
    }
}

#[tokio::test]
async fn what_a_log_remembers_ends_by_itself() {
    let redis = RedisServer::start().await;
    let mut config = config(&redis);
    config.log_bounds = LogBounds { max_age: Duration::from_secs(3600), ..LogBounds::default() };
    let log = RedisLog::connect(&config).await.unwrap();
    let key = |ttl| DedupKey::Key { key: "order".into(), ttl, digest: [1; 16] };
    for once in [numbered(1), numbered(2), key(Duration::from_secs(60)), key(Duration::from_secs(60))] {
        log.append(&bob(), entry(1).with_dedup_key(once)).await.unwrap();
    }
    let forever = DedupKey::Key { key: "forever".into(), ttl: Duration::MAX, digest: [1; 16] };
    log.append(&bob(), entry(2).with_dedup_key(forever)).await.unwrap();
    let mut connection = redis.connection().await;
    let mut ttl = async |record: &str| {
        let ttl = order(&mut connection, &["TTL", &format!("im:{{u:bob}}:inbox:{record}")]).await;
        redis::from_redis_value::<i64>(ttl).unwrap()
    };
    assert!((3_500..=3_600).contains(&ttl("producer:phone").await), "one record for all numbers");
    assert!((1..=60).contains(&ttl("key:order").await));
    assert!(ttl("key:forever").await > 0);
}

/// Environment variable that turns this binary into the writer to be killed.
const CHILD_PATH: &str = "IM_TEST_LOG_PATH";

const CHILD_WRITERS: u64 = 8;

#[tokio::test]
async fn a_killed_process_finds_all_that_was_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("im.redb");
    let mut acknowledged = vec![Vec::new(); usize::try_from(CHILD_WRITERS).unwrap()];
    for round in 1..=3 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "logs::faults::crashes::appends_until_it_is_killed",
                "--ignored",
                "--nocapture",
            ])
            .env(CHILD_PATH, &path)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(|line| line.unwrap());
        let mut take = |line: String| {
            let numbers: Vec<u64> = line.split(' ').filter_map(|word| word.parse().ok()).collect();
            if let ([writer, seq, id], true) = (&numbers[..], line.starts_with("appended ")) {
                acknowledged[*writer as usize].push((*seq, MessageId::from_u64(*id).unwrap()));
            }
        };
        lines.by_ref().take(300 * round).for_each(&mut take);
        child.kill().unwrap();
        // The lines that it wrote before it died.
        lines.for_each(&mut take);
        child.wait().unwrap();

        let log = DiskLog::open(&path, LogBounds::default()).unwrap();
        for (writer, known) in acknowledged.iter().enumerate() {
            let id = LogId::Inbox(format!("user-{writer}").parse().unwrap());
            let entries = all_entries(&log, &id).await;
            let known = known.iter();
            let known = known.map(|&(seq, message_id)| Appended { seq, message_id, repeated: false });
            check(&entries, &known.collect::<Vec<_>>());
        }
    }
    assert!(acknowledged.iter().map(Vec::len).sum::<usize>() > 500);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "another test starts this as a process of its own"]
async fn appends_until_it_is_killed() {
    let Some(path) = std::env::var_os(CHILD_PATH) else { return };
    let log = Arc::new(DiskLog::open(path, LogBounds::default()).unwrap());
    let writers = (0..CHILD_WRITERS).map(|writer| {
        let log = log.clone();
        tokio::spawn(async move {
            let id = LogId::Inbox(format!("user-{writer}").parse().unwrap());
            for number in 0.. {
                let appended = log.append(&id, entry(number)).await.unwrap();
                let line = format!("appended {writer} {} {}\n", appended.seq, appended.message_id);
                // In a single write, and not through the test harness, which may delay it.
                std::io::stdout().write_all(line.as_bytes()).unwrap();
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
}
