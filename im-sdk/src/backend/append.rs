//! Into the logs: a message to a user is appended to that user's inbox and to its sender's.
//!
//! An append that may be retried begins with the sender's inbox (or the first recipient's, where there is no sender): it
//! decides the message's id and content. Whoever retries finds them there, so every log gets the same entry once,
//! whichever back end finishes what another began.

use super::{im::Im, message::Prepared, send::SendError};
use crate::{
    cluster::{Appended, Entry, LogError, LogId, NewEntry, Once, ReadLimit},
    id::{MessageId, UserId},
};
use bytes::Bytes;

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
            None => self.append_all(id, message, inboxes, None, None).await,
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
        let writer = prepared.writer.clone();
        let entry = NewEntry {
            message_id: id,
            payload: message.clone(),
            once: Some(once.clone()),
            writer,
            is_checked: false,
        };
        let decided = self.append_to(&deciding, entry).await?;
        let message = if decided.message_id == id {
            message
        } else if let Some(message) = self.decided(&deciding, decided).await? {
            message
        } else if let Once::Key { .. } = once {
            // The log has been trimmed since. A key's digest is of the content: this is the message that it was.
            prepared.encode(decided.message_id)
        } else {
            // A handler may make something else of the same publish.
            return Err(SendError::Trimmed { log: LogId::Inbox(deciding) });
        };
        let mut logged = self
            .append_all(decided.message_id, message, inboxes, Some(once), prepared.writer.as_ref())
            .await?;
        logged.seqs.insert(0, (deciding, decided.seq));
        logged.repeated = decided.repeated;
        Ok(logged)
    }

    /// What an earlier try appended, if it is still there.
    async fn decided(&self, inbox: &UserId, decided: Appended) -> Result<Option<Bytes>, SendError> {
        let log = LogId::Inbox(inbox.clone());
        let page =
            self.inner.cluster.log().read(&log, decided.seq.saturating_sub(1), ReadLimit::new(1)).await;
        let entry = page.map_err(|error| SendError::not_logged(inbox, error))?.entries.pop();
        let is_it = |entry: &Entry| entry.seq == decided.seq && entry.message_id == decided.message_id;
        Ok(entry.filter(is_it).map(|entry| entry.payload))
    }

    async fn append_all(
        &self,
        id: MessageId,
        message: Bytes,
        inboxes: Vec<UserId>,
        once: Option<Once>,
        writer: Option<&UserId>,
    ) -> Result<Logged, SendError> {
        let entry = |inbox: &UserId| {
            let (payload, once) = (message.clone(), once.clone());
            let entry =
                NewEntry { message_id: id, payload, once, writer: writer.cloned(), is_checked: false };
            (LogId::Inbox(inbox.clone()), entry)
        };
        let appended = self.inner.cluster.log().append_many(inboxes.iter().map(entry).collect()).await;
        let mut seqs = Vec::with_capacity(inboxes.len());
        for (inbox, appended) in inboxes.into_iter().zip(appended) {
            match appended {
                Ok(appended) => seqs.push((inbox, appended.seq)),
                Err(error) => return Err(SendError::not_logged(&inbox, error)),
            }
        }
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
    let is_other = |user: &&UserId| !prepared.is_for_me && Some(*user) != prepared.from.as_ref();
    let others = prepared.users.iter().filter(is_other);
    sender.chain(others).cloned().collect()
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use super::*;
    use crate::{
        backend::{Message, users},
        cluster::{Cluster, LogBounds, MemoryBus, MemoryLog, MemoryRoutes},
        proto::pb,
    };

    /// A log of one entry only, from which the next send pushes out what a first try has appended to it.
    async fn back_end() -> Im {
        let log = MemoryLog::new(LogBounds { max_entries: 1, ..LogBounds::default() });
        let cluster = Cluster::new(Arc::new(MemoryRoutes::new()), Arc::new(MemoryBus::new()), Arc::new(log));
        Im::with_cluster(cluster).await.unwrap()
    }

    fn message() -> Message {
        Message::to(users(["bob"])).from("alice").text("hi")
    }

    fn alice() -> UserId {
        "alice".parse().unwrap()
    }

    async fn inbox(im: &Im, user: &str) -> Vec<(MessageId, Bytes)> {
        let log = LogId::Inbox(user.parse().unwrap());
        let page = im.cluster().log().read(&log, 0, ReadLimit::new(10)).await.unwrap();
        page.entries.into_iter().map(|entry| (entry.message_id, entry.payload)).collect()
    }

    /// A try that ended between the first log and the others, long ago.
    async fn half_a_try(im: &Im, once: Once) -> MessageId {
        let (alice, id) = ("alice".parse().unwrap(), im.inner.ids.next().await.unwrap());
        let payload = message().prepare().unwrap().encode(id);
        im.append_to(&alice, NewEntry::new(id, payload).once(once)).await.unwrap();
        im.send(Message::to(users(["alice"])).text("something else")).await.unwrap();
        id
    }

    #[tokio::test]
    async fn a_keyed_retry_after_a_trim_appends_the_same_message() {
        let im = back_end().await;
        let keyed = || message().idempotency_key("order-1");
        let id = half_a_try(&im, keyed().prepare().unwrap().once().unwrap()).await;
        let receipt = im.send(keyed()).await.unwrap();
        assert_eq!((receipt.message_id, receipt.repeated), (id, true));
        let entries = inbox(&im, "bob").await;
        let [(found, payload)] = entries.as_slice() else { panic!("{entries:?}") };
        assert_eq!(*found, id);
        let found = <pb::Message as prost::Message>::decode(payload.clone()).unwrap();
        assert_eq!((found.id, found.from.as_str()), (id.as_u64(), "alice"));
        assert_eq!(found.content, Some(crate::Content::text("hi").into()));
    }

    #[tokio::test]
    async fn a_retried_publish_after_a_trim_appends_nothing() {
        let im = back_end().await;
        let once = Once::Producer { name: "alice/web/tab>bob".into(), number: 1, digest: [7; 16] };
        half_a_try(&im, once.clone()).await;
        let error = im.send_once(message(), once, &alice()).await.unwrap_err();
        assert!(matches!(error, SendError::Trimmed { .. }), "{error}");
        assert!(inbox(&im, "bob").await.is_empty(), "least of all an empty message");
    }

    #[tokio::test]
    async fn a_retry_soon_after_appends_what_was_decided() {
        let im = Im::with_cluster(Cluster::embedded()).await.unwrap();
        let once = Once::Key { key: "k".into(), ttl: Duration::from_secs(60), digest: [7; 16] };
        let first = im.send_once(message(), once.clone(), &alice()).await.unwrap();
        let again = im.send_once(message(), once, &alice()).await.unwrap();
        assert_eq!((first.message_id, first.logged), (again.message_id, again.logged));
        assert_eq!(inbox(&im, "bob").await, inbox(&im, "alice").await);
    }
}
