//! The server's hot path without the network: `cargo bench -p im-server`.
//!
//! Times are for a whole iteration; `items` counts records, or deliveries.
#![allow(missing_docs, clippy::expect_used, reason = "a benchmark")]

use bytes::Bytes;
use divan::{Bencher, black_box, counter::ItemsCount};
use im_proto::{frame, pb};
use im_server::bench::Inside;
use prost::Message as _;
use tokio::runtime::Runtime;

fn main() {
    divan::main();
}

/// A connection is looked up by its number.
#[divan::bench(args = [1_000, 100_000])]
fn look_up(bencher: Bencher, connections: usize) {
    let (_runtime, inside) = start(connections);
    let numbers = inside.connections();
    let mut next = numbers.iter().cycle();
    bencher.bench_local(|| inside.find(black_box(*next.next().expect("there are connections"))));
}

/// An envelope with so many records for one connection each: decoded, looked up, queued, and taken out again.
#[divan::bench(args = [1, 16, 128])]
fn envelope(bencher: Bencher, records: usize) {
    let (_runtime, inside) = start(10_000);
    let connections = inside.connections();
    let record = |number: &u64| pb::Record {
        connections: vec![*number],
        effect: Some(pb::record::Effect::Frames(push())),
        ..Default::default()
    };
    let envelope = encode(connections.iter().take(records).map(record).collect());
    assert_eq!(deliver(&inside, &envelope, records), records, "every record must arrive");
    bencher.counter(ItemsCount::new(records)).bench_local(|| deliver(&inside, &envelope, records));
}

/// One record for a channel with so many members: queued for each, and taken out again.
#[divan::bench(args = [10, 1_000, 10_000])]
fn channel(bencher: Bencher, members: usize) {
    let (_runtime, inside) = start(members);
    inside.join("bench").expect("a channel");
    let envelope = encode(vec![pb::Record {
        channel: "bench".to_owned(),
        effect: Some(pb::record::Effect::Frames(push())),
        ..Default::default()
    }]);
    assert_eq!(deliver(&inside, &envelope, members), members, "every member must get it");
    bencher.counter(ItemsCount::new(members)).bench_local(|| deliver(&inside, &envelope, members));
}

/// The runtime is what the server's tasks live in.
fn start(connections: usize) -> (Runtime, Inside) {
    let runtime = Runtime::new().expect("a runtime");
    let inside = runtime.block_on(Inside::start(connections)).expect("a server");
    (runtime, inside)
}

fn deliver(inside: &Inside, envelope: &Bytes, connections: usize) -> usize {
    inside.dispatch(black_box(envelope.clone())).expect("an envelope");
    inside.take(connections)
}

fn encode(records: Vec<pb::Record>) -> Bytes {
    pb::Envelope { publisher: "bench".to_owned(), records, ..pb::Envelope::default() }.encode_to_vec().into()
}

/// A message of 128 bytes.
fn push() -> Bytes {
    let text = pb::content::Body::Text(pb::Text { text: "x".repeat(128) });
    let message = pb::Message {
        id: 1,
        from: "alice".to_owned(),
        to: "bob".to_owned(),
        content: Some(text.into()),
        ..Default::default()
    };
    frame::encode(pb::frame::Body::Push(pb::Push { message: Some(message), channel: String::new(), seq: 1 }))
}
