//! Deduplicates messages that are not logged.

use std::sync::Arc;

use super::error::SendError;
use crate::{
    cluster::{DedupKey, LogError, LogId, LogStore},
    id::MessageId,
};

/// Returns the id under which a transient message was sent before with the same number or key. Call it
/// last, before the message is handed to the servers: a second call reports the message as sent.
pub(super) async fn sent_before(
    store: &Arc<dyn LogStore>,
    log: LogId,
    id: MessageId,
    once: Option<&DedupKey>,
) -> Result<Option<MessageId>, SendError> {
    let Some(once) = once else { return Ok(None) };
    match store.deduplicate(&log, id, once).await {
        Ok(first) => Ok((first != id).then_some(first)),
        Err(error @ (LogError::Conflict | LogError::Stale { .. })) => Err(SendError::not_logged(log, error)),
        // Sending it twice is better than not at all.
        Err(error) => {
            tracing::debug!(%log, %error, "unknown whether a transient message was sent before: it is sent");
            Ok(None)
        }
    }
}
