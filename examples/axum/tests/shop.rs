//! The program as its callers and their devices see it: over HTTP, and with two clients.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step of a test is a panic")]

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        mpsc::{Receiver, channel},
    },
    thread,
    time::{Duration, Instant},
};

use im_sdk::{
    client::{Client, ClientConfig, Event, PublishError, ReceivedMessage},
    content::{ChangeKind, Content},
    id::{ChannelId, UserId},
};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// The time limit of every wait.
const PATIENCE: Duration = Duration::from_secs(30);

/// The program, killed when dropped.
struct Shop {
    child: Child,
    address: String,
    lines: Receiver<String>,
}

impl Shop {
    fn start(data: &Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_axum-chat"))
            .args(["--listen", "127.0.0.1:0", "--devices", "127.0.0.1:0", "--moderator", "carol", "--data"])
            .arg(data)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = channel();
        thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        let mut shop = Self { child, address: String::new(), lines };
        shop.address = shop.line("listening on http://");
        shop
    }

    /// Waits for a line with this beginning. Returns the rest of it.
    fn line(&self, start: &str) -> String {
        loop {
            let line = self.lines.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("no line {start:?}"));
            if let Some(rest) = line.strip_prefix(start) {
                return rest.to_owned();
            }
        }
    }

    /// Sends a request. Returns the status and the body, `null` if it is empty.
    fn ask(&self, method: &str, path: &str, key: &str) -> (u16, Value) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let host = &self.address;
        let head = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {key}\r\n");
        write!(stream, "{head}Connection: close\r\n\r\n").unwrap();
        let mut response = String::new();
        stream.read_to_string(&mut response).unwrap();
        let (head, body) = response.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, serde_json::from_str(body).unwrap_or_default())
    }

    fn ok(&self, method: &str, path: &str, key: &str) -> Value {
        let (status, body) = self.ask(method, path, key);
        assert_eq!(status, 200, "{method} {path}: {body}");
        body
    }

    fn sign_up(&self, name: &str) -> String {
        self.ok("POST", &format!("/signup/{name}"), "")["key"].as_str().unwrap().to_owned()
    }

    fn texts(&self, query: &str, key: &str) -> Vec<String> {
        let page = self.ok("GET", &format!("/history?{query}"), key);
        let text =
            |message: &Value| message["content"]["body"]["text"].as_str().unwrap_or_default().to_owned();
        page["messages"].as_array().unwrap().iter().map(text).collect()
    }

    /// Connects a device with the token and the endpoints of a login.
    async fn device(&self, key: &str) -> Client {
        let login = self.ok("POST", "/login", key);
        let endpoints = login["endpoints"].as_array().unwrap().iter();
        let endpoints = endpoints.map(|endpoint| endpoint.as_str().unwrap().parse().unwrap()).collect();
        let token = Arc::new(login["token"].as_str().unwrap().to_owned());
        let client = Client::open(ClientConfig::new(endpoints, "ios/phone".parse().unwrap(), token)).unwrap();
        client.connect();
        wait(&client, "up to date", |event| matches!(event, Event::UpToDate).then_some(())).await;
        client
    }

    /// Ends the program as Ctrl-C does.
    fn interrupt(mut self) {
        kill_process(Pid::from_child(&self.child), Signal::INT).unwrap();
        let since = Instant::now();
        while self.child.try_wait().unwrap().is_none() {
            assert!(since.elapsed() < PATIENCE, "still running");
            thread::sleep(Duration::from_millis(20));
        }
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Shop {
    fn drop(&mut self) {
        // It may have ended already.
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

/// Waits for an event that `wanted` accepts.
async fn wait<T>(client: &Client, what: &str, wanted: impl Fn(Event) -> Option<T>) -> T {
    let looking = async {
        loop {
            for event in client.next_events(1).await {
                if let Some(found) = wanted(event) {
                    return found;
                }
            }
        }
    };
    tokio::time::timeout(PATIENCE, looking).await.unwrap_or_else(|_| panic!("waited in vain: {what}"))
}

/// Waits for a message and acknowledges it.
async fn message(client: &Client) -> ReceivedMessage {
    let message = wait(client, "a message", |event| match event {
        Event::Message(message) => Some(message),
        _ => None,
    });
    let message = message.await;
    client.ack(message.position.as_ref().unwrap());
    message
}

fn user(name: &str) -> UserId {
    UserId::parse(name).unwrap()
}

fn code(error: &PublishError) -> i32 {
    match error {
        PublishError::Refused { code, .. } => *code,
        error => panic!("not refused: {error}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_users_meet_and_talk() {
    let data = tempfile::tempdir().unwrap();
    let shop = Shop::start(data.path());

    // Sign-up: a key, and a welcome that counts as unread.
    let (alice_key, bob_key, carol_key) = (shop.sign_up("alice"), shop.sign_up("bob"), shop.sign_up("carol"));
    assert_eq!(shop.ask("POST", "/signup/alice", "").0, 409, "the name is taken");
    assert_eq!(shop.ask("POST", "/signup/shop", "").0, 409, "the name is the shop's own");
    assert_eq!(shop.ask("POST", "/signup/al%7Bice", "").0, 400, "no user id");
    assert_eq!(shop.ask("POST", "/login", "guessed").0, 401);
    assert_eq!(shop.ok("GET", "/unread", &alice_key)["unread"], 1);
    assert_eq!(shop.texts("user=shop", &alice_key), ["Welcome, alice!"]);

    // Only friends reach each other, and both have to agree.
    let (alice, bob) = (shop.device(&alice_key).await, shop.device(&bob_key).await);
    let refused = alice.send(user("bob"), Content::text("hi")).outcome().await.unwrap_err();
    assert_eq!(
        (code(&refused), refused.to_string().ends_with("bob is not your friend")),
        (2, true),
        "{refused}"
    );
    shop.ok("PUT", "/friends/bob", &alice_key);
    assert_eq!(message(&bob).await.content.as_text(), Some("alice is your friend, if you are alice's."));
    assert_eq!(code(&alice.send(user("bob"), Content::text("hi")).outcome().await.unwrap_err()), 2);
    shop.ok("PUT", "/friends/alice", &bob_key);
    message(&alice).await;
    assert_eq!(shop.ask("PUT", "/friends/nobody", &alice_key).0, 404);

    // They talk. The rule for words applies to edits too.
    let sent = alice.send(user("bob"), Content::text("lunch?")).outcome().await.unwrap().message_id.unwrap();
    let received = message(&bob).await;
    assert_eq!((received.content.as_text(), received.from), (Some("lunch?"), Some(user("alice"))));
    assert_eq!(code(&alice.send(user("bob"), Content::text("damn!")).outcome().await.unwrap_err()), 1);
    let echo = message(&alice).await.reference(&user("alice")).unwrap();
    let edit = echo.change(ChangeKind::Edit(Box::new(Content::text("damn, lunch?"))));
    let refused = alice.send(user("bob"), edit).outcome().await.unwrap_err();
    assert_eq!(code(&refused), 1, "{refused}");

    // Bob has not read it: he is notified, with the sum of what is unread. Alice has read her own.
    assert_eq!(shop.line("push to "), "bob: \"lunch?\" from alice, badge 3");

    // Groups: rows in the shop's table, which reach connected devices at once.
    shop.ok("PUT", "/groups/team/alice", &alice_key);
    assert_eq!(shop.ask("PUT", "/groups/team/bob", &bob_key).0, 403, "the group has members");
    shop.ok("PUT", "/groups/team/bob", &alice_key);
    let team = ChannelId::parse("team").unwrap();
    wait(&bob, "the group", |event| match event {
        Event::Reset { position, .. } => format!("{position:?}").contains("team").then_some(()),
        _ => None,
    })
    .await;
    alice.send(team.clone(), Content::text("hi all")).outcome().await.unwrap();
    loop {
        let received = message(&bob).await;
        if received.channel.as_ref() == Some(&team) {
            assert_eq!(received.content.as_text(), Some("hi all"));
            break;
        }
    }
    assert_eq!(shop.texts("group=team", &bob_key), ["hi all"]);
    assert_eq!(shop.ask("GET", "/history?group=team", &carol_key).0, 403, "carol is no member");
    assert_eq!(shop.line("push to "), "bob: \"hi all\" from alice, badge 4");

    // A moderator recalls the message: it is gone from history.
    let recall = format!("/messages/{sent}");
    assert_eq!(shop.ask("DELETE", &recall, &bob_key).0, 403, "bob is no moderator");
    let since = Instant::now();
    while shop.ask("DELETE", &recall, &carol_key).0 != 200 {
        assert!(since.elapsed() < PATIENCE, "the archiver has not written it");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(shop.texts("user=alice", &bob_key), [""]);
    assert_eq!(shop.ask("DELETE", "/messages/12345", &carol_key).0, 404);

    // Everything is there after a restart.
    tokio::join!(alice.shutdown(), bob.shutdown());
    shop.interrupt();
    let shop = Shop::start(data.path());
    assert_eq!(shop.texts("group=team", &alice_key), ["hi all"]);
    shop.interrupt();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn history_is_read_page_by_page() {
    let data = tempfile::tempdir().unwrap();
    let shop = Shop::start(data.path());
    let key = shop.sign_up("alice");
    shop.ok("PUT", "/groups/diary/alice", &key);
    let alice = shop.device(&key).await;
    for number in 0..60 {
        alice
            .send(ChannelId::parse("diary").unwrap(), Content::text(number.to_string()))
            .outcome()
            .await
            .unwrap();
    }
    let newest = shop.ok("GET", "/history?group=diary", &key);
    let before = newest["next"].as_u64().unwrap();
    let older = shop.texts(&format!("group=diary&before={before}"), &key);
    assert_eq!(older, (0..10).map(|number| number.to_string()).collect::<Vec<_>>());
    assert_eq!(newest["messages"].as_array().unwrap().len(), 50);
    alice.shutdown().await;
    shop.interrupt();
}
