//! Tests against a scripted Redis.

use std::sync::{
    Mutex,
    atomic::{AtomicUsize, Ordering},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use super::*;
use crate::cluster::redis::resp::Reply;

const LIMIT: Duration = Duration::from_millis(300);

/// The behaviour of a [`Fake`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mood {
    /// Replies to everything with `+OK`.
    Master,
    /// Replies to `HELLO` as a replica does, and to everything else with `-READONLY`.
    Replica,
    /// Replies as a master that became a replica a moment ago: the connection stays.
    Refusing(&'static str),
    /// Reads and never replies, not even to the handshake.
    Silent,
}

/// A scripted Redis.
struct Fake {
    mood: Arc<Mutex<Mood>>,
    connections: Arc<AtomicUsize>,
    address: String,
}

impl Fake {
    async fn start(mood: Mood) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("redis://{}", listener.local_addr().unwrap());
        let (mood, connections) = (Arc::new(Mutex::new(mood)), Arc::new(AtomicUsize::new(0)));
        let (moods, count) = (mood.clone(), connections.clone());
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(serve(socket, moods.clone()));
            }
        });
        Self { mood, connections, address }
    }

    fn is(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

async fn serve(mut socket: TcpStream, mood: Arc<Mutex<Mood>>) {
    let (mut unread, mut part) = (Vec::new(), [0; 4096]);
    while let Ok(read @ 1..) = socket.read(&mut part).await {
        unread.extend_from_slice(&part[..read]);
        while let Ok(Some(length)) = super::super::resp::first(&unread) {
            let command: Vec<u8> = unread.drain(..length).collect();
            let mood = *mood.lock().unwrap();
            let is_hello = command.windows(5).any(|word| word == b"HELLO");
            let answer = match (mood, is_hello) {
                (Mood::Silent, _) => continue,
                (Mood::Replica, true) => "%1\r\n+role\r\n+replica\r\n".to_owned(),
                (_, true) => "%1\r\n+role\r\n+master\r\n".to_owned(),
                (Mood::Master, false) => "+OK\r\n".to_owned(),
                (Mood::Replica, false) => "-READONLY no\r\n".to_owned(),
                (Mood::Refusing(error), false) => format!("-{error} no\r\n"),
            };
            if socket.write_all(answer.as_bytes()).await.is_err() {
                return;
            }
        }
    }
}

fn config(fakes: &[&Fake]) -> ClusterConfig {
    let addresses = fakes.iter().map(|fake| fake.address.clone());
    let connect_timeout = Duration::from_secs(1);
    ClusterConfig { request_timeout: LIMIT, connect_timeout, ..ClusterConfig::new(addresses, ["nats://n"]) }
}

async fn connect(fakes: &[&Fake], failovers: &Failovers) -> redis::RedisResult<PipelinedConnection> {
    let options = ConnectionOptions { failovers: failovers.clone(), ..ConnectionOptions::default() };
    PipelinedConnection::connect(&config(fakes), 0, options).await
}

/// Returns the reply to one command.
async fn ask(connection: &PipelinedConnection) -> Result<String, SendError> {
    let mut commands = Commands::default();
    commands.add(&[b"SET", b"a", b"b"]);
    let answered = connection.send(commands).await?;
    let Reply(answer) = answered.answers.iter().next().unwrap();
    Ok(String::from_utf8_lossy(answer).trim_end().to_owned())
}

/// Returns the time until a command succeeds again.
async fn until_done(connection: &PipelinedConnection) -> Duration {
    let since = Instant::now();
    while !ask(connection).await.is_ok_and(|answer| answer == "+OK") {
        assert!(since.elapsed() < Duration::from_secs(20), "it does not work again");
    }
    since.elapsed()
}

/// The bound that the module's documentation promises.
const BOUND: Duration = Duration::from_millis(2 * 300 + 1_000);

#[tokio::test]
async fn a_master_that_became_a_replica_is_left_for_the_next_address() {
    let (old, new) = (Fake::start(Mood::Master).await, Fake::start(Mood::Replica).await);
    let connection = connect(&[&old, &new], &Failovers::default()).await.unwrap();
    assert_eq!(ask(&connection).await.unwrap(), "+OK");
    tokio::time::sleep(Duration::from_millis(500)).await;
    old.is(Mood::Replica);
    new.is(Mood::Master);
    assert_eq!(ask(&connection).await.unwrap(), "-READONLY no", "it was not done, and that is known");
    assert!(until_done(&connection).await < BOUND);
    assert_eq!(new.connections(), 1);
}

#[tokio::test]
async fn every_answer_that_says_so_has_the_connection_replaced() {
    for error in ["READONLY", "MASTERDOWN", "LOADING", "NOREPLICAS", "CLUSTERDOWN", "UNBLOCKED"] {
        let fake = Fake::start(Mood::Master).await;
        let connection = connect(&[&fake], &Failovers::default()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(500)).await;
        fake.is(Mood::Refusing(error));
        assert_eq!(ask(&connection).await.unwrap(), format!("-{error} no"));
        fake.is(Mood::Master);
        assert!(until_done(&connection).await < BOUND, "{error}");
        assert_eq!(fake.connections(), 2, "{error}");
    }
    let fake = Fake::start(Mood::Refusing("OOM")).await;
    let failed = connect(&[&fake], &Failovers::default()).await;
    assert!(failed.is_err(), "who refuses even PING is no Redis to work with");
}

#[tokio::test]
async fn a_redis_that_goes_on_refusing_is_not_connected_to_for_every_request() {
    let fake = Fake::start(Mood::Master).await;
    let connection = connect(&[&fake], &Failovers::default()).await.unwrap();
    let since = Instant::now();
    fake.is(Mood::Refusing("NOREPLICAS"));
    let mut refused = 0;
    while since.elapsed() < Duration::from_millis(400) {
        assert!(matches!(ask(&connection).await, Ok(answer) if answer == "-NOREPLICAS no"));
        refused += 1;
    }
    assert!(refused > 10, "each is answered at once");
    assert_eq!(fake.connections(), 1);
}

#[tokio::test]
async fn what_one_connection_notices_all_others_heed() {
    let (old, new) = (Fake::start(Mood::Master).await, Fake::start(Mood::Replica).await);
    let failovers = Failovers::default();
    let reading = connect(&[&old, &new], &failovers).await.unwrap();
    let writing = connect(&[&old, &new], &failovers).await.unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    old.is(Mood::Replica);
    new.is(Mood::Master);
    assert_eq!(ask(&writing).await.unwrap(), "-READONLY no");
    assert!(until_done(&writing).await < BOUND);
    assert_eq!(ask(&reading).await.unwrap(), "+OK", "it does not even ask the old one");
    assert_eq!(new.connections(), 2);
}

#[tokio::test]
async fn a_connection_that_leads_nowhere_is_given_up() {
    let fake = Fake::start(Mood::Master).await;
    let connection = connect(&[&fake], &Failovers::default()).await.unwrap();
    fake.is(Mood::Silent);
    assert!(matches!(ask(&connection).await, Err(SendError::Unknown(_))), "it may be done yet");
    fake.is(Mood::Master);
    assert!(until_done(&connection).await < BOUND);
    assert_eq!(fake.connections(), 2, "the old connection is not asked again");
}

#[tokio::test]
async fn an_address_at_which_nothing_answers_does_not_use_up_the_time_of_the_next() {
    let (silent, good) = (Fake::start(Mood::Master).await, Fake::start(Mood::Master).await);
    let connection = connect(&[&silent, &good], &Failovers::default()).await.unwrap();
    silent.is(Mood::Silent);
    assert!(ask(&connection).await.is_err());
    assert!(until_done(&connection).await < BOUND);
    assert_eq!(good.connections(), 1);
}

#[tokio::test]
async fn the_first_connection_is_to_the_first_master() {
    let (replica, silent, master) =
        (Fake::start(Mood::Replica).await, Fake::start(Mood::Silent).await, Fake::start(Mood::Master).await);
    let connection = connect(&[&replica, &silent, &master], &Failovers::default()).await.unwrap();
    assert_eq!(ask(&connection).await.unwrap(), "+OK");
    let refused = connect(&[&replica], &Failovers::default()).await.err().unwrap().to_string();
    assert!(refused.contains("it is a replica, not a master"), "{refused}");
}

#[tokio::test]
async fn who_waits_for_a_connection_is_told_in_time_that_nothing_was_done() {
    let fake = Fake::start(Mood::Master).await;
    let connection = connect(&[&fake], &Failovers::default()).await.unwrap();
    fake.is(Mood::Silent);
    assert!(ask(&connection).await.is_err());
    let since = Instant::now();
    let outcomes = futures_util::future::join_all((0..2_000).map(|_| ask(&connection))).await;
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Err(SendError::NotDone(_)))));
    assert!(since.elapsed() < 3 * LIMIT, "{:?}", since.elapsed());
}
