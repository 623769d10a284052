//! Whatever is received, nothing panics, nothing is read that was not written, and nothing is held
//! beyond the limit.
//!
//! For a longer search: `PROPTEST_CASES=100000 cargo test --release -p im-proto --test robustness`.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, also in its helpers")]

mod accident;
mod any;
mod decoding;
mod framing;
mod ids;
#[path = "../pool/mod.rs"]
mod pool;

use bytes::Bytes;
use im_proto::{frame, pb::frame::Body};

/// Above most generated frames, below some.
const LIMIT: usize = 150;

fn concatenation(bodies: &[Body]) -> Bytes {
    bodies.iter().flat_map(|body| frame::encode(body.clone())).collect()
}
