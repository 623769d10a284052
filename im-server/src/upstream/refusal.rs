//! Refusals that the server itself sends in place of a backend.

use bytes::Bytes;
use im_proto::{
    frame,
    pb::{self, RefusalKind},
};

/// The time after which a device may repeat a request that found no room here, or that no backend took.
pub(crate) const RETRY_MS: u32 = 1000;

/// Encodes a `PublishResult` with a refusal.
pub(crate) fn of_publish(number: u64, kind: RefusalKind, reason: &str, retry_after_ms: u32) -> Bytes {
    let outcome = Some(pb::publish_result::Outcome::Refused(refused(kind, reason, retry_after_ms)));
    frame::encode(pb::frame::Body::PublishResult(pb::PublishResult { number, outcome }))
}

/// Encodes a `Response` with a refusal.
pub(crate) fn of_request(number: u64, kind: RefusalKind, reason: &str, retry_after_ms: u32) -> Bytes {
    let outcome = Some(pb::response::Outcome::Refused(refused(kind, reason, retry_after_ms)));
    frame::encode(pb::frame::Body::Response(pb::Response { number, outcome }))
}

fn refused(kind: RefusalKind, reason: &str, retry_after_ms: u32) -> pb::Refused {
    pb::Refused { kind: kind.into(), reason: reason.to_owned(), code: 0, retry_after_ms }
}
