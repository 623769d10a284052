//! Prepares changes of messages, and carries them out once they are logged.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use prost::Message as _;

use super::{
    error::{SendError, name_of},
    log::inboxes,
    message::{InvalidMessage, Prepared, Target, channel, users},
};
use crate::{
    backend::{
        amend::Amender,
        history::HistoryError,
        lookup::MessageLookup,
        message_store::{AMENDMENTS_KEPT, Amendment, StoredEntry},
    },
    cluster::{Cluster, LogId, ReadLimit},
    id::{MessageId, UserId},
    proto::pb,
};

/// The number of logs in which a message is looked for by its id: more users are not reached at once.
const MAX_PLACES: usize = 10_000;

/// Prepares and carries out changes of messages.
#[derive(Debug)]
pub(in crate::backend) struct MessageChanges {
    cluster: Cluster,
    lookup: Arc<MessageLookup>,
    amender: Arc<Amender>,
}

impl MessageChanges {
    pub(super) fn new(cluster: Cluster, lookup: Arc<MessageLookup>, amender: Arc<Amender>) -> Self {
        Self { cluster, lookup, amender }
    }

    /// Finds the changed message, and gives the change its rank among the changes of that message.
    pub(super) async fn prepare(&self, change: &mut Prepared) -> Result<(), SendError> {
        let logs: Vec<LogId> = match &change.channel {
            Some(channel) => vec![LogId::Channel(channel.clone())],
            None => inboxes(change).into_iter().map(LogId::Inbox).collect(),
        };
        // A device's change was looked up when it came.
        if change.writer.is_none() && !change.is_of_other_log() {
            self.find_changed(change, &logs).await?;
        }
        // Behind the ends of all its logs: higher than the order of each change that is logged there,
        // whatever the clocks of the backends say, and the same in all logs.
        let ends = self.cluster.log().ends(&logs).await.map_err(|error| match logs.first() {
            Some(log) => SendError::not_logged(log.clone(), error),
            None => InvalidMessage::NoRecipient.into(),
        })?;
        let last = ends.iter().map(|ends| ends.last).max().unwrap_or_default();
        change.set_order(last.saturating_add(1));
        Ok(())
    }

    /// Checks that the message is in one of the logs, and of the conversation that the logs are of.
    async fn find_changed(&self, change: &mut Prepared, logs: &[LogId]) -> Result<(), SendError> {
        let Some(id) = change.changes else { return Ok(()) };
        let no_such_message = || {
            let names: Vec<String> = logs.iter().take(3).map(name_of).collect();
            SendError::NoSuchMessage { message_id: id, place: names.join(" or ") }
        };
        for (index, log) in logs.iter().enumerate() {
            let Some(seq) = self.lookup.seq_of(log, id).await.map_err(not_looked_up)? else { continue };
            if index == 0 {
                change.amends = change.amends.map(|_| seq);
            }
            let Some(entry) = self.lookup.entry_at(log, seq, id).await.map_err(not_looked_up)? else {
                continue;
            };
            let message = pb::Message::decode(entry.message).unwrap_or_default();
            // A message to several users does not name the others.
            let is_theirs = |user: &UserId| {
                [&*message.from, &*message.to].contains(&user.as_str()) || message.to.is_empty()
            };
            let is_elsewhere = |log: &LogId| matches!(log, LogId::Inbox(user) if !is_theirs(user));
            return if logs.iter().any(is_elsewhere) { Err(no_such_message()) } else { Ok(()) };
        }
        if self.may_be_in_archive(id, logs).await? { Ok(()) } else { Err(no_such_message()) }
    }

    /// Returns `true` if the message may have left its logs and be on its way through the archive to the
    /// message store, which remembers changes of messages that it does not have yet.
    async fn may_be_in_archive(&self, id: MessageId, logs: &[LogId]) -> Result<bool, SendError> {
        let cluster = &self.cluster;
        let (Some(_), Some(_)) = (cluster.archive(), self.lookup.store()) else {
            return Ok(false);
        };
        let now_ms = cluster.clock().read().await?;
        if Duration::from_millis(now_ms.saturating_sub(id.unix_ms())) > AMENDMENTS_KEPT {
            return Ok(false);
        }
        for log in logs {
            let read = cluster.log().read(log, 0, ReadLimit::new(1)).await;
            let page = read.map_err(not_looked_up)?;
            let first = page.entries.first().map(|entry| entry.message_id);
            if page.first > 1 && first.is_none_or(|first| first > id) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Finds where the message with this id was sent, by its entries in the message store.
    pub(super) async fn find_target(&self, id: MessageId) -> Result<Target, SendError> {
        let found = self.lookup.stored_entries(id, MAX_PLACES).await.map_err(not_looked_up)?;
        target_of(&found)
            .ok_or_else(|| SendError::NoSuchMessage { message_id: id, place: "the message store".to_owned() })
    }

    /// Carries out a recall or an edit that was just logged. `seq` is the seq of the changed message in
    /// the first log; 0 means unknown.
    pub(super) async fn carry_out(&self, message: &Bytes, seq: u64, logs: &[LogId]) -> Result<(), SendError> {
        let Some(amendment) = Amendment::of(message) else { return Ok(()) };
        let message_id = MessageId::from_u64(amendment.change()).unwrap_or(amendment.message_id());
        let amended = self.amender.amend(amendment, seq, logs).await;
        amended.map_err(|cause| SendError::NotAmended { message_id, cause })
    }

    /// Notes that these users have deleted a message for themselves.
    pub(super) async fn carry_out_deletion(
        &self,
        change: MessageId,
        deleted: MessageId,
        users: impl Iterator<Item = &UserId>,
    ) -> Result<(), SendError> {
        for user in users {
            let noted = self.cluster.conversations().note_deleted(user, &[deleted]).await;
            noted.map_err(|error| SendError::NotAmended { message_id: change, cause: error.into() })?;
        }
        Ok(())
    }
}

fn not_looked_up(error: impl Into<HistoryError>) -> SendError {
    SendError::NotLookedUp(Arc::new(error.into()))
}

/// Returns the target that a message was sent to.
fn target_of(found: &[StoredEntry]) -> Option<Target> {
    let of_channel = found.iter().find_map(|entry| match &entry.log {
        LogId::Channel(id) => Some(channel(id)),
        LogId::Inbox(_) => None,
    });
    let inboxes = found.iter().filter_map(|entry| match &entry.log {
        LogId::Inbox(user) => Some(user),
        LogId::Channel(_) => None,
    });
    of_channel.or_else(|| (!found.is_empty()).then(|| users(inboxes)))
}
