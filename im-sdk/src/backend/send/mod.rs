//! Sends to users, **hot path 1**: append -> locate -> group by server -> encode once -> publish.
//!
//! [`log`] appends to inboxes, [`dispatch`] locates devices and hands records to servers, [`publisher`] carries them there, and
//! [`channel`] does the same for channels, with one record per server.

pub(super) mod acks;
pub(super) mod amend;
pub(super) mod broadcast;
mod change;
pub(super) mod channel;
mod dedup;
mod dispatch;
pub(super) mod error;
pub(super) mod log;
pub(super) mod message;
pub(super) mod message_ids;
pub(super) mod publisher;
pub(super) mod receipt;
pub(super) mod server_directory;
#[cfg(test)]
mod tests;
pub(super) mod validate;

use std::{collections::HashMap, sync::Arc};

pub(super) use self::dispatch::{ByServer, Freshness, Located, Reach};
pub use self::error::SendError;
use self::{
    dispatch::Dispatched,
    log::Logged,
    message::{Durability, InvalidMessage, Message, Prepared, push_frame, push_frame_len},
    receipt::Receipt,
};
use crate::{
    backend::{history::archiver::archive_all, im::Im},
    cluster::{ArchiveQueue, DedupKey, LogId, LogPosition, RoutesError},
    id::{MessageId, UserId},
    log_throttle::throttled,
    proto::{limits::MAX_FRAME_BYTES, pb},
};

/// The bytes that an entry takes beyond its own as part of a page of history. A logged message must fit into such a page too.
pub(super) const HISTORY_OVERHEAD: usize = 64;

/// The number of users up to which a linear search is used.
const FEW: usize = 8;

impl Im {
    /// Sends a message: logs it (unless it is [`Durability::Transient`]), pushes it to every connected device of its recipients
    /// and its sender, and tells which ones have it queued.
    ///
    /// # Errors
    /// [`SendError`]. A message that is not in every log that it belongs into is an error, never Ok.
    pub async fn send(&self, message: Message) -> Result<Receipt, SendError> {
        let prepared = self.prepare(message)?;
        self.send_prepared(prepared, None).await
    }

    /// Sends a device's publish, whose number makes it one effect. It does not wait for the servers' answers: the receipt covers the
    /// logs alone. The publishes of one device are handed to the servers in its order.
    ///
    /// The publishing user is the writer of what is appended: it has a share of each log, whoever the message says it is from.
    pub(super) async fn send_once(
        &self,
        message: Message,
        once: DedupKey,
        writer: &UserId,
    ) -> Result<Receipt, SendError> {
        let mut prepared = self.prepare(message)?;
        prepared.writer = Some(writer.clone());
        self.send_prepared(prepared, Some(once)).await
    }

    /// Validates a message. The result is boxed because every step's future would copy it.
    fn prepare(&self, message: Message) -> Result<Box<Prepared>, SendError> {
        let config = &self.inner.config;
        let message = message.or_durability(config.default_durability);
        Ok(Box::new(message.or_system_user(config.system_user.as_ref()).prepare()?))
    }

    async fn send_prepared(
        &self,
        mut prepared: Box<Prepared>,
        once: Option<DedupKey>,
    ) -> Result<Receipt, SendError> {
        if prepared.changes.is_some() {
            // Boxed for those that change nothing.
            Box::pin(self.prepare_change(&mut prepared)).await?;
        }
        let id = self.inner.ids.next().await?;
        let archive = match prepared.durability {
            Durability::Archived => Some(self.inner.cluster.archive().ok_or(SendError::NoArchive)?),
            Durability::Transient | Durability::Logged => None,
        };
        match (prepared.channel.take(), prepared.durability) {
            // Boxed: what is rare and large must not make every send large.
            (Some(channel), _) => Box::pin(self.send_to_channel(id, prepared, channel, once, archive)).await,
            (None, Durability::Transient) => self.send_transient(id, prepared, once).await,
            (None, _) => Box::pin(self.send_logged(id, prepared, once, archive)).await,
        }
    }

    async fn send_transient(
        &self,
        id: MessageId,
        prepared: Box<Prepared>,
        once: Option<DedupKey>,
    ) -> Result<Receipt, SendError> {
        let devices =
            self.locate(&prepared.users, Freshness::Cached, |device| prepared.wants(device.terminal)).await?;
        let frame = push_frame(prepared.encode(id), 0);
        check_size(frame.len())?;
        let waits = once.is_none();
        let once = once.or_else(|| prepared.once());
        // In whatever order the recipients are named.
        if let Some(owner) = prepared.owner().or(prepared.users.iter().min())
            && let Some(first) = self.sent_before(LogId::Inbox(owner.clone()), id, once.as_ref()).await?
        {
            return Ok(Receipt { repeated: true, ..Receipt::new(first, Durability::Transient) });
        }
        let dispatched = self.dispatch(devices, |_| pb::record::Effect::Frames(frame.clone())).await;
        let receipt = Receipt::new(id, Durability::Transient);
        if !waits {
            self.sweep_beside(dispatched);
            return Ok(receipt);
        }
        let reached = self.collect(dispatched).await;
        Ok(receipt.delivered(prepared.users, reached))
    }

    async fn send_logged(
        &self,
        id: MessageId,
        prepared: Box<Prepared>,
        once: Option<DedupKey>,
        archive: Option<&Arc<dyn ArchiveQueue>>,
    ) -> Result<Receipt, SendError> {
        let waits = once.is_none();
        let once = once.or_else(|| prepared.once());
        let message = prepared.encode(id);
        check_size(push_frame_len(&message, u64::MAX) + HISTORY_OVERHEAD)?;
        let logged = self.append(id, message, &prepared, once).await?;
        // It is in the logs, so devices get it whatever the archive says.
        let (reached, archived) = match archive {
            None => (self.push_logged(&logged, waits).await, Ok(())),
            Some(_) => {
                let place = |(user, seq): &(UserId, u64)| LogPosition::new(LogId::Inbox(user.clone()), *seq);
                let archived = archive_all(archive, &logged.message, logged.seqs.iter().map(place));
                // Boxed for those that are not archived.
                Box::pin(async { tokio::join!(self.push_logged(&logged, waits), archived) }).await
            }
        };
        let amended = match prepared.amends {
            None => Ok(()),
            // Boxed for those that change nothing.
            Some(seq) => Box::pin(self.carry_out(&logged.message, seq, &inboxes(&logged))).await,
        };
        if let Some(deleted) = prepared.deletes {
            let users = logged.seqs.iter().chain(&logged.earlier).map(|(user, _)| user);
            Box::pin(self.carry_out_deletion(logged.message_id, deleted, users)).await?;
        }
        archived.map_err(|cause| SendError::NotArchived { message_id: logged.message_id, cause })?;
        amended?;
        let mut receipt = Receipt::new(logged.message_id, prepared.durability);
        receipt.repeated = logged.repeated;
        receipt.logged = logged.seqs;
        receipt.logged.extend(logged.earlier);
        // A sender who is no recipient has an entry as well, of which the receipt does not speak.
        let sender = prepared.from.filter(|sender| !prepared.users.contains(sender));
        let recipient = |user: &UserId| Some(user) != sender.as_ref();
        receipt.logged.retain(|(user, _)| recipient(user));
        if !waits {
            return Ok(receipt);
        }
        let Some(reached) = reached else {
            receipt.unlocated = prepared.users;
            return Ok(receipt);
        };
        let reached = reached.into_iter().filter(|(located, _)| recipient(&located.owner.user)).collect();
        Ok(receipt.delivered(prepared.users, reached))
    }

    /// Pushes a logged message. The message is safe: a failure delays it until the device's next sync. Returns `None` if nobody could
    /// be located.
    async fn push_logged(&self, logged: &Logged, waits: bool) -> Option<Vec<(Located, Reach)>> {
        let dispatched = match self.dispatch_logged(logged).await {
            Ok(dispatched) => dispatched,
            Err(error) => {
                throttled!(warn, %error, "a logged message could not be pushed");
                return None;
            }
        };
        if waits {
            return Some(self.collect(dispatched).await);
        }
        self.sweep_beside(dispatched);
        Some(Vec::new())
    }

    async fn dispatch_logged(&self, logged: &Logged) -> Result<Vec<Dispatched>, RoutesError> {
        let users: Vec<UserId> = logged.seqs.iter().map(|(user, _)| user.clone()).collect();
        let devices = self.locate(&users, Freshness::BehindAppend, |_| true).await?;
        // Encoded for who is connected.
        let frames = |seq| pb::record::Effect::Frames(push_frame(logged.message.clone(), seq));
        if logged.seqs.len() <= FEW {
            let seq =
                |user: &UserId| logged.seqs.iter().find(|(other, _)| other == user).map(|(_, seq)| *seq);
            return Ok(self.dispatch(devices, |user| frames(seq(user).unwrap_or_default())).await);
        }
        let seqs: HashMap<&UserId, u64> = logged.seqs.iter().map(|(user, seq)| (user, *seq)).collect();
        Ok(self.dispatch(devices, |user| frames(seqs.get(user).copied().unwrap_or_default())).await)
    }
}

fn inboxes(logged: &Logged) -> Vec<LogId> {
    logged.seqs.iter().map(|(user, _)| LogId::Inbox(user.clone())).collect()
}

pub(super) fn check_size(bytes: usize) -> Result<(), InvalidMessage> {
    let limit = MAX_FRAME_BYTES;
    if bytes <= limit { Ok(()) } else { Err(InvalidMessage::TooLarge { bytes, limit }) }
}
