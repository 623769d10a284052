//! What a change needs beside its content: a message that it changes, and its order among the changes of that message.

use std::{sync::Arc, time::Duration};

use prost::Message as _;

use super::{
    SendError,
    error::name_of,
    log::inboxes,
    message::{InvalidMessage, Prepared, channel, users},
};
use crate::{
    Recipient,
    backend::{
        Receipt, Target,
        history::{HistoryError, LoggedMessage},
        im::Im,
        message_store::{AMENDMENTS_KEPT, StoredEntry},
        parse_ids::parse_user,
    },
    cluster::{LogId, ReadLimit},
    content::Change,
    id::{InvalidId, MessageId, UserId},
    proto::pb,
};

/// In how many logs one message is looked for: more users are not reached at once.
const MAX_PLACES: usize = 10_000;

impl Im {
    /// Finds the message that is changed, and gives the change its order.
    pub(super) async fn prepare_change(&self, change: &mut Prepared) -> Result<(), SendError> {
        let logs: Vec<LogId> = match &change.channel {
            Some(channel) => vec![LogId::Channel(channel.clone())],
            None => inboxes(change).into_iter().map(LogId::Inbox).collect(),
        };
        // Of a device's change the message was looked up when it came.
        if change.writer.is_none() && !change.is_of_other_log() {
            self.find_changed(change, &logs).await?;
        }
        // Behind the ends of all logs that it goes into: so it is higher than that of each change that is logged there already,
        // whatever the clocks of back ends say, and the same in all logs.
        let ends = self.inner.cluster.log().ends(&logs).await.map_err(|error| match logs.first() {
            Some(log) => SendError::not_logged(log.clone(), error),
            None => InvalidMessage::NoRecipient.into(),
        })?;
        let last = ends.iter().map(|ends| ends.last).max().unwrap_or_default();
        change.set_order(last.saturating_add(1));
        Ok(())
    }

    /// Whether the message is in one of the logs, and of the conversation that they are of.
    async fn find_changed(&self, change: &mut Prepared, logs: &[LogId]) -> Result<(), SendError> {
        let Some(id) = change.changes else { return Ok(()) };
        let no_such_message = || {
            let names: Vec<String> = logs.iter().take(3).map(name_of).collect();
            SendError::NoSuchMessage { message_id: id, place: names.join(" or ") }
        };
        for (index, log) in logs.iter().enumerate() {
            let Some(seq) = self.place_in(log, id).await.map_err(looked_up)? else { continue };
            if index == 0 {
                change.amends = change.amends.map(|_| seq);
            }
            let Some(entry) = self.raw_message_at(log, seq, id).await.map_err(looked_up)? else { continue };
            let message = pb::Message::decode(entry.message).unwrap_or_default();
            // Of one to several users it is not told to whom else it went.
            let is_theirs = |user: &UserId| {
                [&*message.from, &*message.to].contains(&user.as_str()) || message.to.is_empty()
            };
            let is_elsewhere = |log: &LogId| matches!(log, LogId::Inbox(user) if !is_theirs(user));
            return if logs.iter().any(is_elsewhere) { Err(no_such_message()) } else { Ok(()) };
        }
        if self.may_be_on_its_way(id, logs).await? { Ok(()) } else { Err(no_such_message()) }
    }

    /// Whether a message may have left its logs and be in the archive, from where it gets into the message store. What is made of
    /// it is remembered there.
    async fn may_be_on_its_way(&self, id: MessageId, logs: &[LogId]) -> Result<bool, SendError> {
        let cluster = &self.inner.cluster;
        let (Some(_), Some(_)) = (cluster.archive(), &self.inner.config.message_store) else {
            return Ok(false);
        };
        let now_ms = cluster.clock().read().await?;
        if Duration::from_millis(now_ms.saturating_sub(id.unix_ms())) > AMENDMENTS_KEPT {
            return Ok(false);
        }
        for log in logs {
            let read = cluster.log().read(log, 0, ReadLimit::new(1)).await;
            let page = read.map_err(|error| looked_up(error.into()))?;
            let first = page.entries.first().map(|entry| entry.message_id);
            if page.first > 1 && first.is_none_or(|first| first > id) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Recalls a message, in whatever conversation it is. It is found by its id in
    /// [`ImBuilder::message_store`](crate::backend::ImBuilder::message_store), once an archiver has written it; for another message,
    /// [`Im::change`] takes the conversation.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new()?.block_on(async {
    /// use std::sync::Arc;
    /// use im_sdk::{
    ///     backend::{Durability, Im, Message, message_store::MemoryMessageStore, user},
    ///     cluster::Cluster,
    /// };
    ///
    /// let store = Arc::new(MemoryMessageStore::new());
    /// let config = Im::builder().message_store(store.clone()).default_durability(Durability::Archived);
    /// let im = config.start(Cluster::embedded()).await?;
    /// let archiver = im.start_archiver(store)?;
    /// let rude = im.send(Message::to(user("bob")).from("alice").text("rude")).await?.message_id;
    /// while archiver.written() < 2 {
    ///     tokio::task::yield_now().await;
    /// }
    /// im.recall(rude).await?;
    /// assert!(im.message(rude).await?.content.is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`SendError::NoSuchMessage`]: it is not in the message store. Others as [`Im::send`].
    pub async fn recall(&self, id: MessageId) -> Result<Receipt, SendError> {
        let found = self.stored_message(id, MAX_PLACES).await.map_err(looked_up)?;
        let target = target_of(&found).ok_or_else(|| SendError::NoSuchMessage {
            message_id: id,
            place: "the message store".to_owned(),
        })?;
        self.change(target, Change::recall(id)).await
    }

    /// A message by its id, as it is now, in whatever conversation: from
    /// [`ImBuilder::message_store`](crate::backend::ImBuilder::message_store), once an archiver has written it. Its place is the one in one of
    /// the logs that have it.
    ///
    /// # Errors
    /// [`HistoryError::NotStored`]: it is not there. For a message that is in a log alone: [`Im::message_in`].
    pub async fn message(&self, id: MessageId) -> Result<LoggedMessage, HistoryError> {
        let found = self.stored_message(id, 1).await?;
        let entry = found.into_iter().next().ok_or(HistoryError::NotStored(id))?;
        let channel = crate::backend::history::channel_of(&entry.log);
        Ok(LoggedMessage::of(channel, entry.into()))
    }

    /// A message by its id and its conversation as a user has it, as it is now.
    ///
    /// # Errors
    /// [`HistoryError::NoSuchMessage`]: it is not there, or not any more.
    pub async fn message_in(
        &self,
        user: impl TryInto<UserId, Error = impl Into<InvalidId>>,
        conversation: impl Into<Recipient>,
        id: MessageId,
    ) -> Result<LoggedMessage, HistoryError> {
        let user = &parse_user(user)?;
        let conversation = conversation.into();
        let log = match &conversation {
            Recipient::User(_) => LogId::Inbox(user.clone()),
            Recipient::Channel(channel) => LogId::Channel(channel.clone()),
        };
        let no_such_message = || HistoryError::NoSuchMessage(id);
        let seq = self.place_in(&log, id).await?.ok_or_else(no_such_message)?;
        let entry = self.message_at(&log, seq, id).await?.ok_or_else(no_such_message)?;
        let peer = if entry.from.as_ref() == Some(user) { &entry.to } else { &entry.from };
        let is_theirs = match &conversation {
            Recipient::User(other) => peer.as_ref() == Some(other),
            Recipient::Channel(_) => true,
        };
        if is_theirs { Ok(entry) } else { Err(no_such_message()) }
    }

    async fn stored_message(&self, id: MessageId, limit: usize) -> Result<Vec<StoredEntry>, HistoryError> {
        match self.inner.config.message_store.as_deref() {
            Some(store) => Ok(store.find_message(id, limit).await?),
            None => Ok(Vec::new()),
        }
    }
}

fn looked_up(error: HistoryError) -> SendError {
    SendError::NotLookedUp(Arc::new(error))
}

/// Where a message went.
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
