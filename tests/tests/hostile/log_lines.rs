//! Log lines and close reasons that peers can provoke.

use std::time::Duration;

use futures_util::StreamExt as _;
use im_proto::pb::frame::Body;
use im_sdk::backend::{Message, user};
use im_tests::{
    ImServer, Setup, Stack, Via,
    permissions::Role,
    raw::{Raw, hello},
    stack::{AUDIENCE, ISSUER, KEY_ID, ServerOptions, token, variables},
};
use tokio_tungstenite::tungstenite;

use crate::arena::{Arena, UNNOTICED, attacker, publish_all, start_backend, text};

/// Maximum number of log lines of an attack of some seconds: a few for each kind of problem.
const MAX_LINES: usize = 30;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stale_numbers_and_nonsense_are_logged_now_and_then() {
    let arena = Arena::start().await;
    let mut mallory = attacker(&arena.stack, "mallory").await;
    let first = publish_all(&mut mallory, [text(1_000_000, "friend", "hi")], UNNOTICED).await;
    assert_eq!(first.accepted, 1);
    let server = &arena.stack.servers[0];
    // The back end also reports what is acknowledged.
    let logged = |output: &str| output.lines().filter(|line| !line.starts_with("acked ")).count();
    let lines = || [arena.backend.output(), server.process().output()].map(|output| logged(&output));
    let before = lines();
    let attack = async {
        let stale = (1..).map(|number| text(number, "friend", "old"));
        let stale = publish_all(&mut mallory, stale, Duration::from_secs(2)).await;
        let mut other = attacker(&arena.stack, "mallory-2").await;
        let empty = |number| Body::Publish(im_proto::pb::Publish { number, ..Default::default() });
        let nonsense = publish_all(&mut other, (1..).map(empty), Duration::from_secs(2)).await;
        (stale, nonsense)
    };
    let (published, report) = arena.beside("publishes that make no sense", attack).await;
    println!("{published:?}");
    let more = [0, 1].map(|index| lines()[index] - before[index]);
    println!("lines logged by back end and server: {more:?}");
    assert!(more.iter().all(|lines| *lines <= MAX_LINES), "{more:?} lines");
    report.bystander.check(UNNOTICED);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_level_logs_bodies_or_tokens() {
    const BODY: &str = "the password is hunter2";
    let mut stack = Stack::start(Setup::Clustered, 0).await;
    let mut environment = variables(&ServerOptions::default(), &stack.certificate);
    environment.push(("RUST_LOG".into(), "trace".into()));
    let services = stack.services().unwrap();
    let (redis, nats) = services.addresses(Role::Server);
    let server = ImServer::start("s1", &redis, &nats, &environment).await;
    stack.servers.push(im_tests::stack::StackServer::Process(server));
    let backend = start_backend(&stack, None, &[("RUST_LOG", "trace")]).await;
    let im = stack.backend().await;
    let mut friend = stack.connect("friend", "web/tab", 0, Via::WebSocket).await;
    friend.up_to_date().await;
    im.send(Message::to(user("friend")).from("carol").text(BODY)).await.unwrap();
    assert_eq!(friend.text().await, BODY);
    let mut carol = attacker(&stack, "carol").await;
    assert_eq!(publish_all(&mut carol, [text(1, "friend", BODY)], UNNOTICED).await.accepted, 1);
    assert_eq!(friend.text().await, BODY);
    let secret = token("friend");
    let signature = secret.rsplit('.').next().unwrap();
    for output in [stack.servers[0].process().output(), backend.output()] {
        for shown in [BODY, signature, "hunter2"] {
            assert!(!output.contains(shown), "{shown:?} is in a log");
        }
    }
    assert!(stack.servers[0].process().output().contains("DEBUG"), "the server heeds the variable");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_are_told_nothing_of_keys() {
    let stack = Stack::start(Setup::Clustered, 1).await;
    let good = token("mallory");
    let wrong = [
        "nonsense".to_owned(),
        format!("{}x", good),
        good.split_once('.').unwrap().1.to_owned(),
        // The id of another key, and tokens of this issuer for another audience.
        "eyJhbGciOiJIUzI1NiIsImtpZCI6Im90aGVyIn0.eyJzdWIiOiJhIn0.AAAA".to_owned(),
    ];
    for token in wrong {
        let mut raw = Raw::connect(&stack, 0, Via::WebSocket).await;
        raw.send_frame(hello(token)).await;
        let Raw::WebSocket { socket, .. } = &mut raw else { unreachable!("it is a WebSocket") };
        let reason = loop {
            if let tungstenite::Message::Close(close) = socket.next().await.unwrap().unwrap() {
                break close.unwrap().reason.to_string();
            }
        };
        println!("told: {reason}");
        for secret in [KEY_ID, ISSUER, AUDIENCE] {
            assert!(!reason.contains(&format!("\"{secret}\"")) && !reason.contains(secret), "{reason}");
        }
    }
}
