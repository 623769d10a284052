//! What the logs promise when Redis, its replicas, its cluster or a back end's own process fail.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step of a test is a panic")]

use std::{
    io::{BufRead, BufReader, Write},
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use futures_util::future::join_all;
use im_sdk::{
    cluster::{
        Appended, ClusterConfig, DiskLog, Entry, LogBounds, LogError, LogId, LogStore, NewEntry, Once,
        RedisLog,
    },
    id::{MessageId, NodeId},
};
use im_tests::{RedisCluster, RedisOptions, RedisServer, wait_until};
use redis::aio::MultiplexedConnection;
use tokio::task::JoinHandle;

const NONE: [&str; 0] = [];
const PATIENCE: Duration = Duration::from_secs(20);

fn config(redis: &RedisServer) -> ClusterConfig {
    let mut config = ClusterConfig::new([redis.address()], NONE);
    config.request_timeout = Duration::from_millis(500);
    config
}

fn bob() -> LogId {
    LogId::Inbox("bob".parse().unwrap())
}

/// The entry that says a number: its id and its payload tell it.
fn entry(number: u64) -> NewEntry {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64;
    let node = NodeId::new((number / 1024) as u16).unwrap();
    NewEntry::new(MessageId::from_parts(now, node, (number % 1024) as u16), Bytes::from(number.to_string()))
}

fn numbered(number: u64) -> Once {
    Once::Producer { name: "phone".into(), number, digest: [1; 16] }
}

/// The last seq, if the log can be looked at.
async fn last(log: &dyn LogStore, id: &LogId) -> Option<u64> {
    Some(log.ends(std::slice::from_ref(id)).await.ok()?[0].last)
}

/// How often Redis was given a command since its counts were reset.
async fn calls(connection: &mut MultiplexedConnection, command: &str) -> u64 {
    let info: String = redis::cmd("INFO").arg("commandstats").query_async(connection).await.unwrap();
    let prefix = format!("cmdstat_{command}:calls=");
    let calls = info.lines().find_map(|line| line.strip_prefix(&*prefix)?.split(',').next()?.parse().ok());
    calls.unwrap_or(0)
}

async fn all_entries(log: &dyn LogStore, id: &LogId) -> Vec<Entry> {
    let page = log.read(id, 0, usize::MAX).await.unwrap();
    assert!(page.entries.iter().map(|entry| entry.seq).eq(1..=page.last), "seqs have no gap");
    page.entries
}

/// Every acknowledged entry is where it was said to be, and none is there twice.
fn check(entries: &[Entry], acknowledged: &[Appended]) {
    for appended in acknowledged {
        let found = &entries[usize::try_from(appended.seq).unwrap() - 1];
        assert_eq!(found.message_id, appended.message_id, "at {}", appended.seq);
    }
    let mut ids: Vec<MessageId> = entries.iter().map(|entry| entry.message_id).collect();
    ids.sort();
    assert!(ids.windows(2).all(|two| two[0] != two[1]), "no entry is there twice");
}

/// Appends until told to stop. Tells what was acknowledged and how many attempts were not.
fn keep_appending(
    log: &Arc<RedisLog>,
    id: &LogId,
    start: u64,
    stop: &Arc<AtomicBool>,
    once: fn(u64) -> Option<Once>,
) -> JoinHandle<(Vec<Appended>, Vec<LogError>)> {
    let (log, id, stop) = (log.clone(), id.clone(), stop.clone());
    tokio::spawn(async move {
        let (mut acknowledged, mut failed) = (Vec::new(), Vec::new());
        for number in start.. {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            match log.append(&id, NewEntry { once: once(number), ..entry(number) }).await {
                Ok(appended) => acknowledged.push(appended),
                Err(error) => failed.push(error),
            }
        }
        (acknowledged, failed)
    })
}

async fn order(connection: &mut MultiplexedConnection, words: &[&str]) -> redis::Value {
    let answer = redis::cmd(words[0]).arg(&words[1..]).query_async(connection).await;
    answer.unwrap_or_else(|error| panic!("{words:?}: {error}"))
}

async fn text(connection: &mut MultiplexedConnection, words: &[&str]) -> String {
    redis::from_redis_value(order(connection, words).await).unwrap()
}

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
async fn an_entry_that_no_replica_has_is_not_acknowledged() {
    let redis = RedisServer::start().await;
    let replica = redis.start_replica().await;
    let mut config = config(&redis);
    (config.min_replicas, config.request_timeout) = (1, Duration::from_secs(2));
    let log = RedisLog::connect(&config).await.unwrap();
    let first = log.append(&bob(), entry(1).once(numbered(1))).await.unwrap();
    assert_eq!((first.seq, first.repeated), (1, false));
    let at_replica: u64 = redis::cmd("XLEN")
        .arg("im:{u:bob}:inbox")
        .query_async(&mut replica.connection().await)
        .await
        .unwrap();
    assert_eq!(at_replica, 1, "Ok means that the replica has it");

    replica.stop();
    // Retries, each on another connection than the one that wrote, are told the same, although they find the entry there.
    let bob = bob();
    for _ in 0..2 {
        let retries = (0..8).map(|_| log.append(&bob, entry(2).once(numbered(2))));
        for result in join_all(retries).await {
            assert!(
                matches!(result, Err(LogError::Unconfirmed { acknowledged: 0, wanted: 1 })),
                "{result:?}"
            );
        }
    }
    let error = log.append(&bob, entry(3)).await.unwrap_err();
    assert!(matches!(error, LogError::Unconfirmed { .. }), "{error}");
    let error = log.append(&bob, entry(4).once(numbered(1))).await.unwrap_err();
    assert!(matches!(error, LogError::Stale { last: 2 }), "what the entry did wrong comes first: {error}");
    let page = log.read(&bob, 0, 10).await.unwrap();
    assert_eq!(page.last, 3, "reading does not wait for the replica, and the entries may be there");

    replica.resume();
    wait_until("the replica confirms again", PATIENCE, async || {
        log.append(&bob, entry(5).once(numbered(2))).await.is_ok_and(|again| {
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

/// On how many connections appends wait for replicas.
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
    // Each of the connections had something under way, and told all that went together of one `WAIT`.
    assert!(unconfirmed.len() >= CONFIRMING, "{} unconfirmed", unconfirmed.len());
    let waits = calls(&mut connection, "wait").await;
    assert!((1..=3 * CONFIRMING as u64).contains(&waits), "{waits} waits for 500 appends");
    // What was said of each is so.
    for (ids, last) in [(&unconfirmed, 1), (&not_appended, 0)] {
        let ends = log.ends(ids).await.unwrap();
        assert!(ends.iter().all(|ends| ends.last == last), "{last} expected: {ends:?}");
    }
    replica.resume();
    // Nothing that was given up stands in the way.
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
        for result in log.append_many(vec![(bob(), entry(2)), (bob(), entry(3).once(numbered(1)))]).await {
            assert!(matches!(result, Err(LogError::OutcomeUnknown { .. })), "{result:?}");
        }
        let error = log.read(&bob(), 0, 10).await.unwrap_err();
        assert!(matches!(error, LogError::Unavailable { action: "read a log", .. }), "{error}");
        assert!(start.elapsed() < Duration::from_secs(3), "after {:?}", start.elapsed());
        redis.resume();
        wait_until("the log is back", PATIENCE, async || log.read(&bob(), 0, 10).await.is_ok()).await;
        wait_until("appends work", PATIENCE, async || log.append(&bob(), entry(4)).await.is_ok()).await;
        assert!(last(&log, &bob()).await > before);
    }
}

#[tokio::test]
async fn what_redis_refuses_was_not_appended() {
    let redis = RedisServer::start().await;
    let log = RedisLog::connect(&config(&redis)).await.unwrap();
    log.append(&bob(), entry(1).once(numbered(1))).await.unwrap();
    let mut admin = redis.connection().await;
    order(&mut admin, &["CONFIG", "SET", "maxmemory", "1"]).await;
    for entry in [entry(2), entry(2).once(numbered(2))] {
        let error = log.append(&bob(), entry).await.unwrap_err();
        assert!(matches!(error, LogError::NotAppended { .. }), "{error}");
    }
    order(&mut admin, &["CONFIG", "SET", "maxmemory", "0"]).await;
    assert_eq!(log.append(&bob(), entry(3).once(numbered(2))).await.unwrap().seq, 2);
    // Something else under a record's name is no reason to append twice.
    order(&mut admin, &["SET", "im:{u:bob}:inbox:producer:phone", "nonsense"]).await;
    let error = log.append(&bob(), entry(4).once(numbered(3))).await.unwrap_err();
    assert!(matches!(error, LogError::NotAppended { .. }), "{error}");
}

#[tokio::test]
async fn forgotten_scripts_are_sent_again() {
    let redis = RedisServer::start().await;
    let log = RedisLog::connect(&config(&redis)).await.unwrap();
    for number in 1..=3 {
        order(&mut redis.connection().await, &["SCRIPT", "FLUSH"]).await;
        let with = entry(number).once(numbered(number));
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
    let key = |ttl| Once::Key { key: "order".into(), ttl, digest: [1; 16] };
    for once in [numbered(1), numbered(2), key(Duration::from_secs(60)), key(Duration::from_secs(60))] {
        log.append(&bob(), entry(1).once(once)).await.unwrap();
    }
    let forever = Once::Key { key: "forever".into(), ttl: Duration::MAX, digest: [1; 16] };
    log.append(&bob(), entry(2).once(forever)).await.unwrap();
    let mut connection = redis.connection().await;
    let mut ttl = async |record: &str| {
        let ttl = order(&mut connection, &["TTL", &format!("im:{{u:bob}}:inbox:{record}")]).await;
        redis::from_redis_value::<i64>(ttl).unwrap()
    };
    assert!((3_500..=3_600).contains(&ttl("producer:phone").await), "one record for all numbers");
    assert!((1..=60).contains(&ttl("key:order").await));
    assert!(ttl("key:forever").await > 0);
}

/// Appends go on, each once, while the slot of their log moves from one node to another.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_that_moves_loses_and_repeats_nothing() {
    let mut redis = RedisCluster::start().await;
    let mut config = ClusterConfig::new(redis.addresses(), NONE);
    config.request_timeout = Duration::from_secs(10);
    let log = Arc::new(RedisLog::connect(&config).await.unwrap());
    log.append(&bob(), entry(0)).await.unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let writers = [
        keep_appending(&log, &bob(), 1, &stop, |_| None),
        keep_appending(&log, &bob(), 1_000_000, &stop, |number| Some(numbered(number))),
    ];
    let go_on = async || {
        let target = last(&*log, &bob()).await.unwrap() + 50;
        wait_until("appends go on", PATIENCE, async || last(&*log, &bob()).await.unwrap() > target).await;
    };
    for _ in 0..3 {
        go_on().await;
        let mut moving = Moving::start(redis.nodes(), "im:{u:bob}:inbox").await;
        moving.hand_over().await;
        go_on().await;
        moving.finish().await;
    }
    go_on().await;
    stop.store(true, Ordering::Relaxed);
    let mut acknowledged = Vec::new();
    for writer in writers {
        let (mut own, failed) = writer.await.unwrap();
        assert!(failed.is_empty(), "{failed:?}");
        acknowledged.append(&mut own);
    }
    let entries = all_entries(&*log, &bob()).await;
    check(&entries, &acknowledged);
    assert_eq!(entries.len(), acknowledged.len() + 1, "and nothing else is there");
}

/// A slot on its way from one node to the next, as `redis-cli --cluster reshard` does it.
struct Moving {
    nodes: Vec<MultiplexedConnection>,
    slot: String,
    from: usize,
    to: usize,
    to_id: String,
    to_address: String,
}

impl Moving {
    /// From now on, what the one does not have is asked of the other.
    async fn start(servers: &[RedisServer], key: &str) -> Self {
        let mut nodes = Vec::new();
        for server in servers {
            nodes.push(server.connection().await);
        }
        let slot = order(&mut nodes[0], &["CLUSTER", "KEYSLOT", key]).await;
        let slot = redis::from_redis_value::<u16>(slot).unwrap().to_string();
        let mut from = 0;
        for (index, node) in nodes.iter_mut().enumerate() {
            let exists = redis::cmd("EXISTS").arg(key).query_async::<bool>(node).await;
            if exists.unwrap_or(false) {
                from = index;
            }
        }
        let to = (from + 1) % nodes.len();
        let from_id = text(&mut nodes[from], &["CLUSTER", "MYID"]).await;
        let to_id = text(&mut nodes[to], &["CLUSTER", "MYID"]).await;
        order(&mut nodes[to], &["CLUSTER", "SETSLOT", &slot, "IMPORTING", &from_id]).await;
        order(&mut nodes[from], &["CLUSTER", "SETSLOT", &slot, "MIGRATING", &to_id]).await;
        Self { nodes, slot, from, to, to_id, to_address: servers[to].address() }
    }

    /// Moves the keys, one by one.
    async fn hand_over(&mut self) {
        let (host, port) = self.to_address.trim_start_matches("redis://").split_once(':').unwrap();
        let from = &mut self.nodes[self.from];
        loop {
            let keys = order(from, &["CLUSTER", "GETKEYSINSLOT", &self.slot, "1"]).await;
            let keys: Vec<String> = redis::from_redis_value(keys).unwrap();
            let Some(key) = keys.first() else { break };
            order(from, &["MIGRATE", host, port, key, "0", "5000"]).await;
            // Long enough for appends to find only some of their keys here.
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Tells all nodes.
    async fn finish(mut self) {
        for node in [self.to, self.from].into_iter().chain(0..self.nodes.len()) {
            order(&mut self.nodes[node], &["CLUSTER", "SETSLOT", &self.slot, "NODE", &self.to_id]).await;
        }
    }
}

/// When a connection breaks, an append fails rather than being sent a second time behind the caller's back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn broken_connections_repeat_nothing() {
    let mut redis = RedisCluster::start().await;
    let log = Arc::new(RedisLog::connect(&ClusterConfig::new(redis.addresses(), NONE)).await.unwrap());
    let stop = Arc::new(AtomicBool::new(false));
    let logs: Vec<LogId> =
        (0..30).map(|user| LogId::Inbox(format!("user-{user}").parse().unwrap())).collect();
    let writers: Vec<_> = logs.iter().map(|id| keep_appending(&log, id, 1, &stop, |_| None)).collect();
    for _ in 0..10 {
        for node in redis.nodes() {
            lose_answers(node).await;
        }
    }
    stop.store(true, Ordering::Relaxed);
    let mut in_doubt = 0;
    for (writer, id) in writers.into_iter().zip(&logs) {
        let (acknowledged, failed) = writer.await.unwrap();
        in_doubt += failed.len();
        wait_until("the log can be read", PATIENCE, async || last(&*log, id).await.is_some()).await;
        let entries = all_entries(&*log, id).await;
        check(&entries, &acknowledged);
        assert!(entries.len() <= acknowledged.len() + failed.len());
    }
    assert!(in_doubt > 0, "nothing was under way when connections broke");
}

/// Breaks a node's connections after it has carried out requests and before it has answered them: while it is busy,
/// requests queue, and the one that breaks the connections comes last.
async fn lose_answers(node: &RedisServer) {
    let (mut busy, mut admin) = (node.connection().await, node.connection().await);
    let busy = tokio::spawn(async move { order(&mut busy, &["EVAL", "for _ = 1, 1e7 do end", "0"]).await });
    tokio::time::sleep(Duration::from_millis(20)).await;
    order(&mut admin, &["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]).await;
    // It may have lost its answer too.
    let _ = busy.await;
}

/// The variable that makes this program a writer to be killed.
const CHILD_PATH: &str = "IM_TEST_LOG_PATH";
const CHILD_WRITERS: u64 = 8;

#[tokio::test]
async fn a_killed_process_finds_all_that_was_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("im.redb");
    let mut acknowledged = vec![Vec::new(); usize::try_from(CHILD_WRITERS).unwrap()];
    for round in 1..=3 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "appends_until_it_is_killed", "--ignored", "--nocapture"])
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
        // What it wrote before it died.
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
                // In one piece, and not through the test harness, which may hold it back.
                std::io::stdout().write_all(line.as_bytes()).unwrap();
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
}
