//! Benchmarks of frames: `cargo bench -p im-proto`.
#![allow(missing_docs, clippy::expect_used, reason = "a benchmark")]

use bytes::{Bytes, BytesMut};
use divan::{Bencher, black_box, counter::BytesCount};
use im_proto::{frame, limits::MAX_HELLO_BYTES, pb};

fn main() {
    divan::main();
}

const SIZES: [usize; 3] = [32, 128, 4096];

/// Encodes a `Push` with a text of so many bytes.
#[divan::bench(args = SIZES)]
fn encode(bencher: Bencher, bytes: usize) {
    let body = push(bytes);
    let length = frame::encode(body.clone()).len();
    let bencher = bencher.counter(BytesCount::new(length)).with_inputs(|| body.clone());
    bencher.bench_local_values(frame::encode);
}

/// Decodes a `Push`.
#[divan::bench(args = SIZES)]
fn decode(bencher: Bencher, bytes: usize) {
    let message = frame::encode(push(bytes));
    bencher.counter(BytesCount::new(message.len())).bench_local(|| {
        let frame = frames(black_box(&message)).next().expect("a frame");
        frame::decode(frame).expect("a valid frame")
    });
}

/// Splits a WebSocket message of so many frames.
#[divan::bench(args = [1, 100])]
fn split(bencher: Bencher, count: usize) {
    let message = Bytes::from(frame::encode(push(128)).repeat(count));
    assert_eq!(frames(&message).count(), count);
    bencher.counter(BytesCount::new(message.len())).bench_local(|| frames(black_box(&message)).count());
}

/// Takes frames off a stream's buffer.
#[divan::bench(args = [1, 100])]
fn take(bencher: Bencher, count: usize) {
    let stream = frame::encode(push(128)).repeat(count);
    let bencher = bencher.counter(BytesCount::new(stream.len())).with_inputs(|| BytesMut::from(&stream[..]));
    bencher.bench_local_refs(|buffer| {
        let mut taken = 0;
        while frame::take(buffer, MAX_HELLO_BYTES).expect("a valid stream").is_some() {
            taken += 1;
        }
        assert_eq!(taken, count);
    });
}

fn frames(message: &Bytes) -> impl Iterator<Item = Bytes> {
    frame::split(message.clone(), MAX_HELLO_BYTES).map(|frame| frame.expect("a valid message"))
}

fn push(bytes: usize) -> pb::frame::Body {
    let text = pb::content::Body::Text(pb::Text { text: "x".repeat(bytes) });
    let message = pb::Message {
        id: 1,
        from: "alice".to_owned(),
        to: "bob".to_owned(),
        content: Some(text.into()),
        ..Default::default()
    };
    pb::frame::Body::Push(pb::Push { message: Some(message), channel: String::new(), seq: 1 })
}
