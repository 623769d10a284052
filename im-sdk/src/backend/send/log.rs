//! Appends to inboxes: a message to a user goes into that user's inbox and into its sender's.
//!
//! An append that may be retried begins with the sender's inbox, or without a sender with the inbox of
//! the recipient whose id is lowest. This inbox decides the message's id and content. A retry finds
//! them there, so every log gets the same entry once, whichever backend finishes what another began,
//! and in whatever order the recipients are named.

use std::{num::NonZeroU64, sync::Arc, time::Duration};

use super::{
    error::SendError,
    message::{KEY_TTL, Prepared},
};
use crate::{
    cluster::{Appended, DedupKey, Entry, LogError, LogId, LogStore, NewEntry, ReadLimit},
    id::{MessageId, UserId},
};
use bytes::Bytes;

/// A message in its logs.
#[derive(Debug)]
pub(in crate::backend) struct Logged {
    pub(in crate::backend) message_id: MessageId,
    pub(in crate::backend) message: Bytes,
    /// The inboxes with this message, and its seq in each.
    pub(in crate::backend) seqs: Vec<(UserId, NonZeroU64)>,
    /// The inboxes that have the message from an earlier attempt, under an id of its own. Nothing is
    /// pushed or archived for them.
    pub(in crate::backend) earlier: Vec<(UserId, NonZeroU64)>,
    pub(in crate::backend) repeated: bool,
}

/// The time by which other logs remember a key longer than the log that decides, since the clocks of
/// their stores may differ a little. If one of them forgot the key first, a retry would append the
/// message there again.
const KEY_MARGIN: Duration = Duration::from_secs(60);

/// Appends messages to inboxes.
#[derive(Debug)]
pub(in crate::backend) struct InboxLogs {
    store: Arc<dyn LogStore>,
}

impl InboxLogs {
    pub(super) fn new(store: Arc<dyn LogStore>) -> Self {
        Self { store }
    }

    /// Appends a message to all its logs.
    pub(in crate::backend) async fn append(
        &self,
        id: MessageId,
        message: Bytes,
        prepared: &Prepared,
        once: Option<DedupKey>,
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
        once: DedupKey,
    ) -> Result<Logged, SendError> {
        let is_checked = self.check_room(&inboxes, &message, prepared, &once).await?;
        let index = deciding(prepared, &inboxes);
        let deciding = inboxes.remove(index);
        let entry = NewEntry {
            message_id: id,
            payload: message.clone(),
            dedup_key: Some(once.clone()),
            writer: prepared.writer.clone(),
            is_checked,
        };
        let decided = self.append_to(&deciding, entry).await?;
        let message = if decided.message_id == id {
            message
        } else if let Some(message) = self.decided(&deciding, decided).await? {
            message
        } else if let DedupKey::Key { .. } = once {
            // The log has been trimmed since. The key's digest covers the content, so this is the
            // same message.
            prepared.encode(decided.message_id)
        } else {
            // A handler may make another message of the same publish.
            return Err(SendError::Trimmed { log: LogId::Inbox(deciding) });
        };
        let seq = seq_of(&decided, || LogId::Inbox(deciding.clone()))?;
        let rest = once_decided(once, decided.message_id, id);
        let writer = prepared.writer.as_ref();
        let appended = self.append_all(decided.message_id, message, inboxes, Some(rest), writer).await;
        let mut logged = appended.map_err(SendError::in_part)?;
        logged.seqs.insert(index.min(logged.seqs.len()), (deciding, seq));
        logged.repeated |= decided.repeated;
        Ok(logged)
    }

    /// Checks that there is room in all logs of a device's publish, so that a message which a
    /// recipient's log refuses is not in the sender's either. Returns `false` if no check was
    /// needed.
    async fn check_room(
        &self,
        inboxes: &[UserId],
        message: &Bytes,
        prepared: &Prepared,
        once: &DedupKey,
    ) -> Result<bool, SendError> {
        let (Some(writer), [_, _, ..]) = (&prepared.writer, inboxes) else { return Ok(false) };
        // The id does not matter yet: an earlier attempt may have decided another.
        let entry = |inbox: &UserId| {
            let entry = NewEntry::new(MessageId::first_at(0), message.clone());
            (LogId::Inbox(inbox.clone()), entry.with_dedup_key(once.clone()).by(writer.clone()))
        };
        let entries: Vec<_> = inboxes.iter().map(entry).collect();
        let found = self.store.check_room(&entries).await;
        for (inbox, found) in inboxes.iter().zip(found) {
            found.map_err(|error| SendError::not_logged(LogId::Inbox(inbox.clone()), error))?;
        }
        Ok(true)
    }

    /// Returns the message of an earlier attempt, if it is still there.
    async fn decided(&self, inbox: &UserId, decided: Appended) -> Result<Option<Bytes>, SendError> {
        let log = LogId::Inbox(inbox.clone());
        let page = self.store.read(&log, decided.seq.saturating_sub(1), ReadLimit::new(1)).await;
        let entry =
            page.map_err(|error| SendError::not_logged(LogId::Inbox(inbox.clone()), error))?.entries.pop();
        let is_it = |entry: &Entry| entry.seq == decided.seq && entry.message_id == decided.message_id;
        Ok(entry.filter(is_it).map(|entry| entry.payload))
    }

    async fn append_all(
        &self,
        id: MessageId,
        message: Bytes,
        inboxes: Vec<UserId>,
        once: Option<DedupKey>,
        writer: Option<&UserId>,
    ) -> Result<Logged, SendError> {
        let entry = |inbox: &UserId| {
            let (payload, once) = (message.clone(), once.clone());
            let entry = NewEntry {
                message_id: id,
                payload,
                dedup_key: once,
                writer: writer.cloned(),
                is_checked: writer.is_some(),
            };
            (LogId::Inbox(inbox.clone()), entry)
        };
        let appended = self.store.append_many(inboxes.iter().map(entry).collect()).await;
        let mut seqs = Vec::with_capacity(inboxes.len());
        let mut earlier = Vec::new();
        for (inbox, appended) in inboxes.into_iter().zip(appended) {
            match appended {
                Ok(appended) => {
                    let seq = seq_of(&appended, || LogId::Inbox(inbox.clone()))?;
                    // Another id: the deciding log has forgotten its decision and this one has not. The
                    // entry stays the only one.
                    let list = if appended.message_id == id { &mut seqs } else { &mut earlier };
                    list.push((inbox, seq));
                }
                Err(error) => return Err(SendError::not_logged(LogId::Inbox(inbox), error)),
            }
        }
        let repeated = !earlier.is_empty();
        Ok(Logged { message_id: id, message, seqs, earlier, repeated })
    }

    async fn append_to(&self, inbox: &UserId, entry: NewEntry) -> Result<Appended, SendError> {
        let log = LogId::Inbox(inbox.clone());
        let appended = self.store.append(&log, entry).await;
        appended.map_err(|error| SendError::not_logged(LogId::Inbox(inbox.clone()), error))
    }
}

/// Returns the seq of an appended entry. A store that answers 0, which is the seq of no entry, is at
/// fault.
pub(super) fn seq_of(appended: &Appended, log: impl Fn() -> LogId) -> Result<NonZeroU64, SendError> {
    NonZeroU64::new(appended.seq).ok_or_else(|| {
        let cause = LogError::Malformed { what: "seq", place: "the reply to an append".to_owned() };
        SendError::NotLogged { log: log(), cause }
    })
}

impl SendError {
    /// Turns a full log into an unknown outcome, if another log has the message already: others
    /// have filled the log since it was checked, and a retry has to finish the append.
    fn in_part(self) -> Self {
        match self {
            Self::NotLogged { log, cause: full @ LogError::Full { .. } } => {
                Self::NotLogged { log, cause: LogError::OutcomeUnknown { source: Arc::new(full) } }
            }
            error => error,
        }
    }
}

/// Returns the inboxes of a message, the sender's first, each once.
pub(in crate::backend) fn inboxes(prepared: &Prepared) -> Vec<UserId> {
    let sender = prepared.owner().into_iter();
    let is_other = |user: &&UserId| !prepared.is_for_me && Some(*user) != prepared.owner();
    let others = prepared.users.iter().filter(is_other);
    sender.chain(others).cloned().collect()
}

/// Returns the index of the deciding inbox. It does not depend on the order of the recipients,
/// which a retry may name in another order.
fn deciding(prepared: &Prepared, inboxes: &[UserId]) -> usize {
    if prepared.owner().is_some() {
        return 0;
    }
    let lowest = inboxes.iter().enumerate().min_by_key(|(_, user)| *user);
    lowest.map_or(0, |(index, _)| index)
}

/// Returns the key for the other logs, given the id that the first log decided and the id of this
/// attempt, which tells the time. They remember a key as long as the deciding log does, and a
/// little longer.
fn once_decided(once: DedupKey, decided: MessageId, now: MessageId) -> DedupKey {
    match once {
        DedupKey::Key { key, ttl, digest } => {
            let age = Duration::from_millis(now.unix_ms().saturating_sub(decided.unix_ms()));
            let ttl = ttl.min(KEY_TTL).saturating_sub(age) + KEY_MARGIN;
            DedupKey::Key { key, ttl, digest }
        }
        numbered => numbered,
    }
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;

    use super::*;
    use crate::{
        backend::{
            Im, Message,
            test_support::hooked_log::{HookedLog, LogHooks},
            users,
        },
        cluster::{Cluster, DeviceAck, LogBounds, MemoryBus, MemoryLog, MemoryRoutes},
        proto::pb,
    };

    /// A backend whose logs keep one entry, so that the next send pushes out the entry of a first attempt.
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

    /// Leaves an old attempt that ended after the first log.
    async fn half_a_try(im: &Im, once: DedupKey) -> MessageId {
        let (alice, id) = ("alice".parse().unwrap(), im.inner.sender.ids.next().await.unwrap());
        let payload = message().prepare().unwrap().encode(id);
        im.inner
            .sender
            .inboxes
            .append_to(&alice, NewEntry::new(id, payload).with_dedup_key(once))
            .await
            .unwrap();
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
        assert_eq!(found.content, Some(crate::content::Content::text("hi").into()));
    }

    #[tokio::test]
    async fn a_retried_publish_after_a_trim_appends_nothing() {
        let im = back_end().await;
        let once = DedupKey::Producer { name: "alice/web/tab>bob".into(), number: 1, digest: [7; 16] };
        half_a_try(&im, once.clone()).await;
        let error = im.inner.sender.send_once(message(), once, &alice()).await.unwrap_err();
        assert!(matches!(error, SendError::Trimmed { .. }), "{error}");
        assert!(inbox(&im, "bob").await.is_empty(), "least of all an empty message");
    }

    #[tokio::test]
    async fn a_retry_soon_after_appends_what_was_decided() {
        let im = Im::with_cluster(Cluster::embedded()).await.unwrap();
        let once = DedupKey::Key { key: "k".into(), ttl: Duration::from_secs(60), digest: [7; 16] };
        let first = im.inner.sender.send_once(message(), once.clone(), &alice()).await.unwrap();
        let again = im.inner.sender.send_once(message(), once, &alice()).await.unwrap();
        assert_eq!((first.message_id, first.logged), (again.message_id, again.logged));
        assert_eq!(inbox(&im, "bob").await, inbox(&im, "alice").await);
    }

    fn keyed(names: [&str; 3]) -> Message {
        Message::to(users(names)).text("hi").idempotency_key("order-1")
    }

    const ORDERS: [[&str; 3]; 6] = [
        ["ann", "bob", "cat"],
        ["ann", "cat", "bob"],
        ["bob", "ann", "cat"],
        ["bob", "cat", "ann"],
        ["cat", "ann", "bob"],
        ["cat", "bob", "ann"],
    ];

    /// The users to whose inboxes nothing can be appended.
    #[derive(Debug, Default)]
    struct FullDisks(std::sync::Mutex<Vec<&'static str>>);

    #[async_trait]
    impl LogHooks for FullDisks {
        async fn before_append(&self, log: &LogId) -> Result<(), LogError> {
            let is_full = |user: &&str| log.to_string() == format!("u:{user}");
            if self.0.lock().unwrap().iter().any(is_full) {
                let source = Arc::new(std::io::Error::other("switched off"));
                return Err(LogError::NotAppended { source });
            }
            Ok(())
        }
    }

    async fn failing_back_end() -> (Im, Arc<HookedLog<FullDisks>>) {
        let (log, cluster) = HookedLog::cluster(LogBounds::default(), FullDisks::default());
        (Im::with_cluster(cluster).await.unwrap(), log)
    }

    #[tokio::test]
    async fn a_keyed_send_without_a_sender_has_one_effect_whatever_fails_first_and_in_whatever_order_it_is_retried()
     {
        for first in ORDERS {
            for retry in ORDERS {
                for failing in [&[][..], &["bob"], &["cat"], &["bob", "cat"]] {
                    let (im, log) = failing_back_end().await;
                    *log.hooks.0.lock().unwrap() = failing.to_vec();
                    assert_eq!(im.send(keyed(first)).await.is_err(), !failing.is_empty());
                    log.hooks.0.lock().unwrap().clear();
                    let receipt = im.send(keyed(retry)).await.unwrap();
                    assert!(receipt.repeated, "{first:?}, then {retry:?}");
                    let seqs: Vec<_> =
                        receipt.logged.iter().map(|(user, seq)| (user.as_str(), *seq)).collect();
                    assert_eq!(seqs, retry.map(|user| (user, 1)), "in the order of the recipients");
                    for user in retry {
                        let ids: Vec<_> = inbox(&im, user).await.into_iter().map(|(id, _)| id).collect();
                        assert_eq!(ids, [receipt.message_id], "{first:?}, then {retry:?}: {user}");
                    }
                }
            }
        }
    }

    #[tokio::test]
    async fn a_log_that_remembers_longer_than_the_deciding_one_keeps_its_entry() {
        let im = Im::with_cluster(Cluster::embedded()).await.unwrap();
        let key = |ttl| DedupKey::Key { key: "k".into(), ttl, digest: [7; 16] };
        let to_both = || Message::to(users(["bob", "ann"])).text("hi");
        // The entry of an earlier attempt, which the deciding log has forgotten.
        let id = im.inner.sender.ids.next().await.unwrap();
        let payload = to_both().prepare().unwrap().encode(id);
        let bob = "bob".parse().unwrap();
        im.inner
            .sender
            .inboxes
            .append_to(&bob, NewEntry::new(id, payload).with_dedup_key(key(Duration::from_secs(60))))
            .await
            .unwrap();
        let receipt =
            im.inner.sender.send_once(to_both(), key(Duration::from_secs(60)), &alice()).await.unwrap();
        assert!(receipt.repeated);
        let ids =
            async |user| -> Vec<MessageId> { inbox(&im, user).await.into_iter().map(|(id, _)| id).collect() };
        assert_eq!(ids("bob").await, [id], "one effect, and the one that its devices know");
        assert_eq!(ids("ann").await, [receipt.message_id]);
        assert_eq!(receipt.logged.len(), 2, "both have it: {receipt:?}");
    }

    #[test]
    fn other_logs_forget_a_key_just_after_the_deciding_one() {
        let (decided, now) = (MessageId::first_at(1_800_000_000_000), MessageId::first_at(1_800_000_600_000));
        let once = DedupKey::Key { key: "k".into(), ttl: KEY_TTL, digest: [7; 16] };
        let DedupKey::Key { ttl, .. } = once_decided(once, decided, now) else { panic!("a key") };
        assert_eq!(ttl, KEY_TTL - Duration::from_secs(600) + KEY_MARGIN);
    }

    async fn acknowledge(im: &Im, user: &str, seq: u64) {
        let user: UserId = user.parse().unwrap();
        let ack = DeviceAck::new(user.clone(), "web/tab".parse().unwrap(), LogId::Inbox(user), seq);
        im.cluster().log().note_acks(&[ack]).await.unwrap();
    }

    #[tokio::test]
    async fn a_publish_that_has_no_room_is_in_no_log_and_can_be_tried_again() {
        let bounds = LogBounds { max_entries: 8, inbox_shares: 4, ..LogBounds::default() };
        let (routes, log) = (MemoryRoutes::new(), MemoryLog::new(bounds));
        let cluster = Cluster::new(Arc::new(routes), Arc::new(MemoryBus::new()), Arc::new(log));
        let im = Im::with_cluster(cluster).await.unwrap();
        let publish = async |number: u64| {
            let once = DedupKey::Producer { name: "alice/web/tab>bob".into(), number, digest: [7; 16] };
            im.inner.sender.send_once(message(), once, &alice()).await
        };
        // Bob has unread messages that alice's flood must not push out.
        let carols = im.send(Message::to(users(["bob"])).from("carol").text("hi")).await.unwrap().message_id;
        acknowledge(&im, "bob", 0).await;
        let mut number = 1;
        let error = loop {
            match publish(number).await {
                Ok(_) => number += 1,
                Err(error) => break error,
            }
            assert!(number < 20, "everything is taken");
        };
        let is_full = |error: &SendError| matches!(error, SendError::NotLogged { log, cause: LogError::Full { .. } } if log.to_string() == "u:bob");
        assert!(is_full(&error), "{error}");
        assert_eq!(inbox(&im, "bob").await[0].0, carols);
        assert_eq!(
            inbox(&im, "alice").await.len() as u64,
            number - 1,
            "not in the sender's own inbox either"
        );
        assert!(is_full(&publish(number).await.unwrap_err()), "it stays refused");
        im.send(message()).await.expect("a backend is not refused");
        acknowledge(&im, "bob", 4).await;
        let receipt = publish(number).await.unwrap();
        assert!(!receipt.repeated);
        assert_eq!(inbox(&im, "alice").await.last(), inbox(&im, "bob").await.last());
        let again = publish(number).await.unwrap();
        assert_eq!((again.message_id, again.repeated), (receipt.message_id, true));
    }
}
