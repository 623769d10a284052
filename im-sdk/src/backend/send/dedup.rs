//! Deduplicates messages that are not logged.

use crate::backend::SendError;
use crate::{
    backend::im::Im,
    cluster::{DedupKey, LogError, LogId},
    id::MessageId,
};

impl Im {
    /// Returns the id under which a transient message was sent before with the same number or key. Call it last, before the message is
    /// handed to the servers: a second call reports the message as sent.
    pub(in crate::backend) async fn sent_before(
        &self,
        log: LogId,
        id: MessageId,
        once: Option<&DedupKey>,
    ) -> Result<Option<MessageId>, SendError> {
        let Some(once) = once else { return Ok(None) };
        match self.inner.cluster.log().deduplicate(&log, id, once).await {
            Ok(first) => Ok((first != id).then_some(first)),
            Err(error @ (LogError::Conflict | LogError::Stale { .. })) => {
                Err(SendError::not_logged(log, error))
            }
            // Rather twice than not at all.
            Err(error) => {
                tracing::debug!(%log, %error, "it is not known whether a live message was sent before");
                Ok(None)
            }
        }
    }
}
