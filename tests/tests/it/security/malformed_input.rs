//! Malformed input from devices and on every bus subject: nothing panics, and others are still served.

use std::sync::{
    Once,
    atomic::{AtomicUsize, Ordering},
};

use bytes::Bytes;
use im_sdk::{
    Conversation, HistoryRange,
    backend::{Incoming, Message, user},
    cluster::{Publication, Subject},
};
use im_tests::{
    Setup, Stack, Via, everywhere,
    raw::{Heard, Raw},
};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use serde_json::Value;

everywhere!(a_device_may_say_anything);

/// Golden vectors of the protocol. They contain every message and every field.
const VECTORS: &str = include_str!("../../../../proto/vectors/frames.json");

/// Returns the golden entries of a list as bytes; with a `kind`, those of this message type.
fn golden(list: &str, kind: &str) -> Vec<Bytes> {
    let file: Value = serde_json::from_str(VECTORS).unwrap();
    let is_wanted = |entry: &&Value| kind.is_empty() || entry["type"] == format!("im.v1.{kind}");
    let entries = file[list].as_array().unwrap().iter().filter(is_wanted);
    let found: Vec<Bytes> = entries.map(|entry| unhex(entry["hex"].as_str().unwrap())).collect();
    assert!(!found.is_empty(), "no {kind} among the {list}");
    found
}

fn unhex(text: &str) -> Bytes {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

/// Returns a golden entry, intact or damaged, or random bytes.
fn any_of(golden: &[Bytes], random: &mut StdRng) -> Bytes {
    let mut bytes = golden[random.random_range(0..golden.len())].to_vec();
    for _ in 0..random.random_range(0..4) {
        let at = random.random_range(0..=bytes.len());
        match random.random_range(0..4) {
            0 if at < bytes.len() => bytes[at] ^= 1 << random.random_range(0..8),
            1 => bytes.insert(at, random.random()),
            2 => drop(bytes.drain(at..(at + random.random_range(0..9)).min(bytes.len()))),
            3 => bytes.truncate(at),
            _ => bytes = (0..random.random_range(0..200)).map(|_| random.random()).collect(),
        }
    }
    bytes.into()
}

/// Counts panics of tasks, which nothing else would show. Panics in this file's crate are failed tests of their own
/// and do not count: all tests share one process.
fn panics() -> &'static AtomicUsize {
    static PANICS: AtomicUsize = AtomicUsize::new(0);
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            let is_a_failed_test =
                panic.location().is_some_and(|location| location.file().starts_with("tests/"));
            if !is_a_failed_test {
                PANICS.fetch_add(1, Ordering::Relaxed);
            }
            before(panic);
        }));
    });
    &PANICS
}

/// Asserts that two well-behaved devices still exchange messages and read history, and that no task has panicked.
async fn check_others(stack: &Stack, via: Via) {
    let mut anna = stack.connect("anna", "web/tab", 0, via).await;
    let mut boris = stack.connect("boris", "web/tab", 0, via).await;
    for device in [&mut anna, &mut boris] {
        device.up_to_date().await;
    }
    anna.publish("boris", "still here?").await.unwrap();
    assert_eq!(boris.text().await, "still here?");
    boris.publish("anna", "still here").await.unwrap();
    let anna_user = Conversation::User("anna".parse().unwrap());
    let page = boris.client().history(anna_user, HistoryRange::Newest, 10).await.unwrap();
    let texts: Vec<_> = page.messages.iter().filter_map(|message| message.content.as_text()).collect();
    assert_eq!(texts, ["still here?", "still here"]);
    assert_eq!(panics().load(Ordering::Relaxed), 0, "a task has panicked: see above");
}

async fn serving(stack: &Stack) -> (im_sdk::backend::Im, im_sdk::backend::Service) {
    let im = stack.backend().await;
    let service = im.serve(|incoming: Incoming| async move { Ok(incoming.accept()) }).await.unwrap();
    (im, service)
}

async fn a_device_may_say_anything(setup: Setup, via: Via) {
    panics();
    let stack = Stack::start(setup, 1).await;
    let (im, _service) = serving(&stack).await;
    let (golden, mut random) = (golden("frames", ""), StdRng::seed_from_u64(7));
    for _ in 0..30 {
        let mut raw = Raw::connect(&stack, 0, via).await;
        raw.log_in("mallory").await;
        // A violation of the protocol closes the connection; whole frames are handled.
        for _ in 0..40 {
            raw.send(any_of(&golden, &mut random)).await;
        }
        drop(raw);
    }
    for _ in 0..30 {
        let mut raw = Raw::connect(&stack, 0, via).await;
        raw.send(any_of(&golden, &mut random)).await;
        drop(raw);
    }
    check_others(&stack, via).await;
    drop(im);
}

/// Tests the bus: its messages come from the deployment's processes, which may have other versions or be
/// compromised.
async fn a_bus_may_say_anything(setup: Setup) {
    panics();
    let stack = Stack::start(setup, 1).await;
    let (im, _service) = serving(&stack).await;
    let names = stack.cluster().names();
    let server = stack.server_id(&stack.servers[0]).await;
    let subjects: Vec<(Subject, &str)> = vec![
        (names.server(&server), "Envelope"),
        (names.upstream_publish(), "Upstream"),
        (names.upstream_sync(), "UpstreamSync"),
        (names.upstream_store(), "UpstreamStoreCheck"),
        (names.upstream_membership(), "UpstreamMembership"),
        (names.upstream_request(), "UpstreamRequest"),
        (names.upstream_ack(), "UpstreamAcks"),
        (names.upstream_signal(), "UpstreamSignals"),
        (names.upstream_presence(), "UpstreamPresences"),
        (names.acks_stored(), "UpstreamAcks"),
    ];
    let (all, mut random) = (golden("messages", ""), StdRng::seed_from_u64(8));
    // A wait for acknowledgements, so that the back end handles those it receives.
    let receipt = im.send(Message::to(user("nobody")).text("?")).await.unwrap();
    let waiting =
        tokio::spawn(async move { im.wait_acked(&receipt, std::time::Duration::from_secs(1)).await });
    for (subject, kind) in subjects {
        let own = golden("messages", kind);
        for number in 0..300 {
            let golden = if number % 4 == 0 { &all } else { &own };
            let payload = any_of(golden, &mut random);
            let publication = Publication { subject: subject.clone(), return_to: None, payload };
            stack.cluster().bus().publish(publication).await.unwrap();
        }
    }
    let _ = waiting.await.unwrap();
    // Some messages kick or flood connections: a device that reconnects is served.
    let mut raw = Raw::connect(&stack, 0, Via::WebSocket).await;
    raw.log_in("mallory").await;
    assert!(matches!(raw.heard().await, Heard::Frame(_)));
    check_others(&stack, Via::WebSocket).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bus_in_one_process_may_say_anything() {
    a_bus_may_say_anything(Setup::Embedded).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bus_on_nats_may_say_anything() {
    a_bus_may_say_anything(Setup::Clustered).await;
}
