//! Floods of signals to slow readers.

use std::time::Duration;

use futures_util::future::join_all;
use im_proto::{close::CloseCode, pb, pb::frame::Body};
use im_sdk::backend::{Message, user};
use im_tests::{
    raw::{Heard, Raw},
    stack::ServerOptions,
};
use tokio::{
    sync::oneshot,
    time::{Instant, sleep},
};

use crate::arena::{Arena, TERMINALS, UNNOTICED, attacker, publish_all, terminal, text};

/// Number of frames that a slow device reads per second.
const RATE: f64 = 250_000.0;

const TIME: Duration = Duration::from_secs(12);

fn signal(to: &str, channel: &str, bytes: usize) -> Body {
    let call =
        pb::Call { id: "call".into(), step: pb::CallStep::Candidate.into(), data: vec![0; bytes].into() };
    Body::Signal(pb::Signal {
        to: to.into(),
        channel: channel.into(),
        body: Some(pb::signal::Body::Call(call)),
        ..Default::default()
    })
}

/// Heartbeat so long that devices which only read stay connected.
async fn arena() -> Arena {
    Arena::start_with(ServerOptions { heartbeat: 20 * TIME, ..ServerOptions::default() }, false).await
}

/// Sends signals on a connection as fast as possible. The server may close it.
async fn signals(raw: &mut Raw, body: Body) {
    let deadline = Instant::now() + TIME;
    while Instant::now() < deadline {
        for _ in 0..10 {
            raw.send_frame(body.clone()).await;
        }
        sleep(Duration::from_millis(50)).await;
    }
}

/// Returns what a slow device received until a text: the number of signals, and whether it was closed before.
async fn read_slowly(mut raw: Raw, until: &str) -> (u64, Option<CloseCode>) {
    let mut signals = 0;
    loop {
        match raw.heard().await {
            Heard::Frame(Body::Signalled(signalled)) => {
                signals += 1;
                let bytes = prost::Message::encoded_len(&signalled) as f64;
                sleep(Duration::from_secs_f64(bytes / RATE)).await;
            }
            Heard::Frame(Body::Push(push)) => {
                let content = push.message.unwrap().content.unwrap();
                if matches!(content.body, Some(pb::content::Body::Text(text)) if text.text == until) {
                    return (signals, None);
                }
            }
            Heard::Frame(_) => {}
            Heard::Closed(code) => return (signals, Some(code)),
        }
    }
}

/// All terminals of mallory send signals at once while the victims read slowly. Nobody is disconnected, and messages
/// sent afterwards arrive.
async fn attack(arena: &Arena, what: &'static str, victims: Vec<(String, Raw)>, body: Body) {
    let mut devices = Vec::new();
    for kind in TERMINALS {
        devices.push(terminal(&arena.stack, "mallory", kind, "raw").await);
    }
    let (mut names, mut reading) = (Vec::new(), Vec::new());
    for (name, raw) in victims {
        let (heard, hears) = oneshot::channel();
        tokio::spawn(async move { heard.send(read_slowly(raw, "after all").await) });
        names.push(name);
        reading.push(hears);
    }
    let flood = join_all(devices.iter_mut().map(|device| signals(device, body.clone())));
    let (_, report) = arena.beside(what, flood).await;
    for name in &names {
        arena.im.send(Message::to(user(name)).from("friend").text("after all")).await.unwrap();
    }
    let heard: Vec<_> = join_all(reading).await.into_iter().map(Result::unwrap).collect();
    println!("signals heard, and how it ended: {heard:?}");
    assert!(heard.iter().all(|(_, closed)| closed.is_none()), "{heard:?}");
    report.bystander.check(UNNOTICED);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_strangers_signals_throw_nobody_off() {
    let arena = arena().await;
    let victim = vec![("victim".to_owned(), attacker(&arena.stack, "victim").await)];
    attack(&arena, "a stranger's large signals to a slow device", victim, signal("victim", "", 60_000)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_acquaintances_signals_throw_nobody_off() {
    let arena = arena().await;
    let mut victim = attacker(&arena.stack, "victim").await;
    let written = publish_all(&mut victim, [text(1, "mallory", "hi")], TIME).await;
    assert_eq!(written.accepted, 1);
    let victims = vec![("victim".to_owned(), victim)];
    attack(&arena, "an acquaintance's signals to a slow device", victims, signal("victim", "", 4_000)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_members_signals_throw_nobody_off() {
    let arena = arena().await;
    let members: Vec<String> = (0..20).map(|number| format!("member-{number}")).collect();
    let team = arena.im.channel("team");
    team.add_members(members.iter().map(String::as_str).chain(["mallory"])).await.unwrap();
    for bytes in [60_000, 4_000] {
        let mut victims = Vec::new();
        for member in &members {
            victims.push((member.clone(), attacker(&arena.stack, member).await));
        }
        attack(&arena, "a member's signals to a group of slow devices", victims, signal("", "team", bytes))
            .await;
    }
}
