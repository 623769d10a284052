//! Chats with a server and a backend other than `cli-chat serve`.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod pipes;

use std::{path::Path, process::Command, time::Duration};

use im_sdk::{
    backend::{Im, Message, user, users},
    cluster::Cluster,
    content::Change,
    id::UserId,
    token::{SigningKey, TokenMinter},
};
use im_server::{
    Server,
    dev::{self, Relay},
};
use pipes::Chat;

/// A server with a relay, like `im-server --dev`.
struct Elsewhere {
    server: Server,
    _relay: Relay,
    im: Im,
}

impl Elsewhere {
    async fn start() -> Self {
        let cluster = Cluster::embedded();
        let mut config = dev::config().unwrap();
        (config.websocket, config.quic) = (Some("127.0.0.1:0".parse().unwrap()), None);
        let server = Server::start(config, cluster.clone()).await.unwrap();
        let relay = Relay::start(cluster.clone()).await.unwrap();
        Self { server, _relay: relay, im: Im::with_cluster(cluster).await.unwrap() }
    }

    fn url(&self) -> &str {
        &self.server.endpoints()[0]
    }

    fn connect(&self, data: &Path, name: &str) -> Chat {
        let token = dev::token(&UserId::parse(name).unwrap()).unwrap();
        let mut chat = Chat::start(data, &[name, "--server", self.url(), "--token", &token]);
        chat.wait("* connected as");
        chat
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_back_end_itself_says_is_shown() {
    let data = tempfile::tempdir().unwrap();
    let elsewhere = Elsewhere::start().await;
    let im = &elsewhere.im;
    let news = |text: &str| Message::to(user("alice")).text(text);
    let mut alice = elsewhere.connect(data.path(), "alice");
    alice.wait("no conversations yet");
    im.send(news("good news")).await.unwrap();
    alice.wait("     (the back end): good news");

    // A change by the backend shows in the conversation.
    let rude = im.send(Message::to(user("alice")).from("bob").text("rude")).await.unwrap();
    alice.wait("[bob] bob: rude");
    im.change(users(["alice", "bob"]), Change::recall(rude.message_id)).await.unwrap();
    alice.wait("[bob] bob: (recalled by (the back end))");
    assert!(alice.end().0);

    // No list shows it, so the chat names the command that does.
    let old = im.send(news("old news")).await.unwrap();
    im.change(user("alice"), Change::edit(old.message_id, "new news")).await.unwrap();
    let mut alice = elsewhere.connect(data.path(), "alice");
    alice.wait("* 1 from the back end while you were away: /notices shows them");
    alice.say("/notices");
    alice.wait("(the back end): good news");
    alice.wait("(the back end): new news (edited)");
    alice.say("/open bob");
    alice.wait("bob: (recalled by (the back end))");
    alice.say("/open alice");
    alice.wait("── alice");
    alice.say("a note to myself");
    alice.wait("alice: a note to myself");
    assert!(!alice.seen.iter().any(|line| line.contains("rude")), "{:?}", alice.seen);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_back_end_without_groups_is_noticed() {
    let data = tempfile::tempdir().unwrap();
    let elsewhere = Elsewhere::start().await;
    let mut alice = elsewhere.connect(data.path(), "alice");
    alice.say("/msg bob hi");
    alice.wait("alice: hi");
    alice.say("/group team bob");
    alice.wait("! this back end knows nothing of groups");
    let shown = |alice: &mut Chat| {
        let before = alice.seen.len();
        alice.say("/list");
        alice.wait(" unread in all");
        alice.seen[before..].iter().any(|line| line.contains("back-end"))
    };
    let hidden = async {
        while shown(&mut alice) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), hidden).await.unwrap();
    assert!(!alice.seen.iter().any(|line| line.contains("[back-end]")), "{:?}", alice.seen);
    alice.say("/members team");
    alice.wait("! this back end knows nothing of groups");
    assert!(!alice.end().0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_never_connects_is_told_why_and_fails() {
    let data = tempfile::tempdir().unwrap();
    let elsewhere = Elsewhere::start().await;
    let alice = UserId::parse("alice").unwrap();
    let key = SigningKey::hs256(dev::KEY_ID, b"a secret of which the server knows nothing").unwrap();
    let wrong =
        TokenMinter::new(key, dev::ISSUER, dev::AUDIENCE).mint(&alice, Duration::from_secs(60)).unwrap();
    let refused = Chat::start(data.path(), &["alice", "--server", elsewhere.url(), "--token", &wrong]);
    let (all_done, seen) = refused.end();
    let told = seen.join("\n");
    assert!(
        !all_done && told.contains("signature") && told.contains("! there was no connection: "),
        "{told}"
    );
    assert!(!told.contains("--server"), "{told}");

    let nowhere = Chat::start(data.path(), &["alice", "--server", "ws://127.0.0.1:1", "--token", &wrong]);
    let (all_done, seen) = nowhere.end();
    let told = seen.join("\n");
    assert!(!all_done && told.contains("is --server right?"), "{told}");
    assert!(told.contains("! there was no connection: "), "{told}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_terminal_needs_another_device() {
    let data = tempfile::tempdir().unwrap();
    let elsewhere = Elsewhere::start().await;
    let mut first = elsewhere.connect(data.path(), "alice");
    let token = dev::token(&UserId::parse("alice").unwrap()).unwrap();
    let chat = ["alice", "--server", elsewhere.url(), "--token", &*token];
    let mut second = Command::new(env!("CARGO_BIN_EXE_cli-chat"));
    let output = second.args(chat).arg("--data").arg(data.path()).output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("the store is in use") && told.contains("another --terminal"), "{told}");

    // The advice that the chat gave works.
    let other = [&chat[..], &["--device", "two", "--terminal", "other"]].concat();
    let mut second = Chat::start(data.path(), &other);
    second.wait("* connected as");
    first.say("/queue");
    first.wait("* all is sent");
    assert!(!first.seen.iter().any(|line| line.contains("took its place")), "{:?}", first.seen);
}
