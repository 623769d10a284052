//! Encoding of publishes and their results, for the connection and the store.

use std::time::Duration;

use prost::Message as _;

use crate::{
    Recipient,
    client::{PublishError, Published, RefusalKind, SendError, core::session::Limits},
    content,
    id::MessageId,
    proto::{limits::MAX_CONTENT_BYTES, pb},
};

pub(super) fn publish(
    number: u64,
    installation: u64,
    origin: u64,
    to: &Recipient,
    content: pb::Content,
) -> pb::frame::Body {
    let (to, channel) = match to {
        Recipient::User(user) => (user.to_string(), String::new()),
        Recipient::Channel(channel) => (String::new(), channel.to_string()),
    };
    pb::frame::Body::Publish(pb::Publish {
        number,
        to,
        content: Some(content),
        channel,
        installation,
        origin,
    })
}

/// Checks that a content is not empty and fits into a frame whatever its number will be.
pub(super) fn check(to: &Recipient, content: pb::Content, limits: Limits) -> Result<pb::Content, SendError> {
    // A kind that this version does not know is passed on unchanged.
    if content::is_empty(&content) || content::edit(&content).is_some_and(content::is_empty) {
        return Err(SendError::NoContent);
    }
    let bytes = content.encoded_len();
    if bytes > MAX_CONTENT_BYTES {
        return Err(SendError::TooLarge { bytes, limit: MAX_CONTENT_BYTES });
    }
    match fit(publish(u64::MAX, u64::MAX, u64::MAX, to, content), limits)? {
        pb::frame::Body::Publish(pb::Publish { content: Some(content), .. }) => Ok(content),
        _ => Err(SendError::NoContent),
    }
}

/// Returns the frame if it is not too large for the server.
pub(super) fn fit(body: pb::frame::Body, limits: Limits) -> Result<pb::frame::Body, SendError> {
    let frame = pb::Frame { body: Some(body) };
    let bytes = frame.encoded_len();
    match frame.body {
        Some(body) if bytes <= limits.max_frame_bytes => Ok(body),
        _ => Err(SendError::TooLarge { bytes, limit: limits.max_frame_bytes }),
    }
}

pub(super) fn outcome(result: pb::PublishResult) -> Result<Published, pb::Refused> {
    match result.outcome {
        Some(pb::publish_result::Outcome::Accepted(accepted)) => {
            Ok(Published { message_id: MessageId::from_u64(accepted.message_id), answer: accepted.answer })
        }
        Some(pb::publish_result::Outcome::Refused(refused)) => Err(refused),
        None => Err(unknown("the answer is one that this version does not know".to_owned())),
    }
}

/// A refusal that leaves the outcome open.
fn unknown(reason: String) -> pb::Refused {
    pb::Refused { kind: pb::RefusalKind::Unspecified.into(), reason, ..Default::default() }
}

pub(super) fn kind(refused: &pb::Refused) -> RefusalKind {
    pb::RefusalKind::try_from(refused.kind).map_or(RefusalKind::Unknown, RefusalKind::from)
}

/// Returns the error of a refusal after which there is no further try.
pub(super) fn refusal(refused: pb::Refused) -> PublishError {
    let (kind, retry_after) = (kind(&refused), retry_after(&refused));
    let pb::Refused { reason, code, .. } = refused;
    if kind.is_certain() {
        PublishError::Refused { kind, reason, code, retry_after }
    } else {
        PublishError::Unconfirmed { reason }
    }
}

fn retry_after(refused: &pb::Refused) -> Option<Duration> {
    (refused.retry_after_ms > 0).then(|| Duration::from_millis(refused.retry_after_ms.into()))
}

/// Encodes a failure for the store.
pub(super) fn encode_failure(error: &PublishError) -> Vec<u8> {
    let refused = match error {
        PublishError::Refused { kind, reason, code, retry_after } => pb::Refused {
            kind: pb::RefusalKind::from(*kind).into(),
            reason: reason.clone(),
            code: *code,
            retry_after_ms: retry_after.map_or(0, |delay| delay.as_millis().try_into().unwrap_or(u32::MAX)),
        },
        PublishError::Unconfirmed { reason } => unknown(reason.clone()),
        other => pb::Refused {
            kind: pb::RefusalKind::Invalid.into(),
            reason: other.to_string(),
            ..Default::default()
        },
    };
    refused.encode_to_vec()
}

pub(super) fn decode_failure(failure: &[u8]) -> PublishError {
    refusal(pb::Refused::decode(failure).unwrap_or_default())
}

/// Returns the delay before the next try, if there is one. `attempts` is the number of earlier refusals.
pub(super) fn retry_delay(refused: &pb::Refused, attempts: u32) -> Option<Duration> {
    let delay = retry_after(refused)?;
    let grown = delay.saturating_mul(2_u32.saturating_pow(attempts));
    Some(grown.min(LONGEST_DELAY).max(delay))
}

/// The longest delay between tries while a back end is away, unless a refusal names a longer one.
const LONGEST_DELAY: Duration = Duration::from_secs(15);
