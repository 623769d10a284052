//! Into the logs: a message to a user is appended to that user's inbox and to its sender's.
//!
//! An append that may be retried begins with the sender's inbox (or the first recipient's, where there is no sender): it
//! decides the message's id and content. Whoever retries finds them there, so every log gets the same entry once,
//! whichever back end finishes what another began.

use bytes::Bytes;
use futures_util::future::try_join_all;

use super::{im::Im, message::Prepared, send::SendError};
use crate::{
    cluster::{Appended, LogError, LogId, NewEntry, Once},
    id::{MessageId, UserId},
};

/// Where a message is.
#[derive(Debug)]
pub(super) struct Logged {
    pub(super) message_id: MessageId,
    pub(super) message: Bytes,
    /// Each inbox that has it, with its place there.
    pub(super) seqs: Vec<(UserId, u64)>,
    pub(super) repeated: bool,
}

impl Im {
    /// Appends a message to all its logs.
    pub(super) async fn append(
        &self,
        id: MessageId,
        message: Bytes,
        prepared: &Prepared,
        once: Option<Once>,
    ) -> Result<Logged, SendError> {
        let inboxes = inboxes(prepared);
        match once {
            None => self.append_all(id, message, inboxes, None).await,
            Some(once) => self.append_once(id, message, prepared, inboxes, once).await,
        }
    }

    async fn append_once(
        &self,
        id: MessageId,
        message: Bytes,
        prepared: &Prepared,
        mut inboxes: Vec<UserId>,
        once: Once,
    ) -> Result<Logged, SendError> {
        let deciding = inboxes.remove(0);
        let decided =
            self.append_to(&deciding, NewEntry::new(id, message.clone()).once(once.clone())).await?;
        let message = if decided.message_id == id {
            message
        } else {
            // A log that was trimmed since does not have it any more. Then the other logs had their entries long ago, and
            // the archive gets what the same send makes of it now.
            let first = self.decided(&deciding, decided).await?;
            first.unwrap_or_else(|| prepared.encode(decided.message_id))
        };
        let mut logged = self.append_all(decided.message_id, message, inboxes, Some(once)).await?;
        logged.seqs.insert(0, (deciding, decided.seq));
        logged.repeated = decided.repeated;
        Ok(logged)
    }

    /// What an earlier try appended.
    async fn decided(&self, inbox: &UserId, decided: Appended) -> Result<Option<Bytes>, SendError> {
        let log = LogId::Inbox(inbox.clone());
        let page = self.inner.cluster.log().read(&log, decided.seq.saturating_sub(1), 1).await;
        let entry = page.map_err(|error| SendError::not_logged(inbox, error))?.entries.pop();
        Ok(entry.filter(|entry| entry.seq == decided.seq).map(|entry| entry.payload))
    }

    async fn append_all(
        &self,
        id: MessageId,
        message: Bytes,
        inboxes: Vec<UserId>,
        once: Option<Once>,
    ) -> Result<Logged, SendError> {
        let appends = inboxes.iter().map(|inbox| {
            let entry = NewEntry { message_id: id, payload: message.clone(), once: once.clone() };
            self.append_to(inbox, entry)
        });
        let seqs = try_join_all(appends).await?.into_iter().map(|appended| appended.seq);
        let seqs = inboxes.iter().cloned().zip(seqs).collect();
        Ok(Logged { message_id: id, message, seqs, repeated: false })
    }

    async fn append_to(&self, inbox: &UserId, entry: NewEntry) -> Result<Appended, SendError> {
        let log = LogId::Inbox(inbox.clone());
        let appended = self.inner.cluster.log().append(&log, entry).await;
        appended.map_err(|error| SendError::not_logged(inbox, error))
    }
}

impl SendError {
    fn not_logged(inbox: &UserId, error: LogError) -> Self {
        match error {
            LogError::Conflict => Self::Conflict,
            source => Self::NotLogged { user: inbox.clone(), source },
        }
    }
}

/// The sender's first, each once.
fn inboxes(prepared: &Prepared) -> Vec<UserId> {
    let sender = prepared.from.iter();
    let others = prepared.users.iter().filter(|user| Some(*user) != prepared.from.as_ref());
    sender.chain(others).cloned().collect()
}
