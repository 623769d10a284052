//! Small requests with large answers: histories, lists, and syncs of a large log.

use std::time::Duration;

use futures_util::{StreamExt as _, future::join_all, stream};
use im_proto::{pb, pb::frame::Body, pb::request::Question};
use im_sdk::backend::{Message, user};
use im_tests::raw::{Heard, Raw};
use tokio::time::{Instant, timeout};

use crate::arena::{Arena, TERMINALS, UNNOTICED, terminal};

/// Number of messages to the user: more than a log keeps.
const ENTRIES: usize = 1_500;
const BYTES: usize = 60_000;

/// Bytes that Redis sends for one response: the contents of a log once, plus other traffic.
const MAX_READ: u64 = 12 << 20;

const TIME: Duration = Duration::from_secs(6);

/// Number of requests of one user that a back end answers at once.
const UNDER_WAY: u64 = 2;

async fn large_inbox(arena: &Arena, name: &'static str) {
    let text = "x".repeat(BYTES);
    let send = |number: usize| {
        let message = Message::to(user(name)).from(&*format!("peer-{}", number % 50)).text(&text);
        async { arena.im.send(message).await.unwrap() }
    };
    stream::iter(0..ENTRIES).map(send).buffer_unordered(16).for_each(async |_| {}).await;
}

/// Repeats a request for a time with eight in flight. Returns the number of responses and of refusals among them.
async fn ask(raw: &mut Raw, question: &Question) -> (u64, u64) {
    let deadline = Instant::now() + TIME;
    let (mut number, mut answered, mut refused) = (0, 0, 0);
    while Instant::now() < deadline {
        while number < answered + 8 {
            number += 1;
            raw.send_frame(Body::Request(pb::Request { number, question: Some(question.clone()) })).await;
        }
        match timeout(TIME, raw.heard()).await {
            Ok(Heard::Frame(Body::Response(response))) => {
                answered += 1;
                refused += u64::from(matches!(response.outcome, Some(pb::response::Outcome::Refused(_))));
            }
            Ok(Heard::Frame(_)) => {}
            Ok(Heard::Closed(code)) => panic!("closed: {code}"),
            Err(_) => break,
        }
    }
    (answered, refused)
}

async fn attack(arena: &Arena, what: &'static str, question: Question) {
    let mut devices = Vec::new();
    for kind in &TERMINALS[..4] {
        devices.push(terminal(&arena.stack, "mallory", *kind, "raw").await);
    }
    let attack = join_all(devices.iter_mut().map(|device| ask(device, &question)));
    let (answers, report) = arena.beside(what, attack).await;
    println!("answered and refused: {answers:?}");
    assert!(report.backend_grew() < 96.0, "{report}");
    // The bytes read for one answer are bounded, whatever the log holds.
    let answered: u64 = answers.iter().map(|(answered, _)| answered).sum();
    let sent = report.redis_grew("total_net_output_bytes");
    // Requests in flight at the end have read without answering.
    let read = answered + UNDER_WAY;
    assert!(answered > 0 && sent / read <= MAX_READ, "{sent} bytes for {answered} answers: {report}");
    report.bystander.check(UNNOTICED);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn histories_and_lists_of_a_large_inbox() {
    let arena = Arena::start().await;
    large_inbox(&arena, "mallory").await;
    let nobody = pb::history_request::Conversation::User("nobody".into());
    let history = |asked: pb::HistoryRequest| {
        Question::History(pb::HistoryRequest { conversation: Some(nobody.clone()), limit: 100, ..asked })
    };
    attack(&arena, "histories that find nothing in a large inbox", history(Default::default())).await;
    let unknown = pb::HistoryRequest { before_id: 4711, ..Default::default() };
    attack(&arena, "histories before a message that does not exist", history(unknown)).await;
    let list = pb::ConversationsRequest { limit: 100, ..Default::default() };
    attack(&arena, "lists of a large inbox", Question::Conversations(list)).await;
}
