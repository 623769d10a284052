//! Decoding of arbitrary input never panics, returns nothing that was not written, and holds no more
//! bytes than the limit.
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

/// A limit above the size of most generated frames, and below that of some.
const LIMIT: usize = 150;

fn concatenation(bodies: &[Body]) -> Bytes {
    bodies.iter().flat_map(|body| frame::encode(body.clone())).collect()
}
