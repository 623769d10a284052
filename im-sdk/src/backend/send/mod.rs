//! Sends messages, **hot path 1**: append -> locate -> group by server -> encode once -> publish.
//!
//! A [`MessageSender`] validates a message and leads it through the steps. [`log`] appends it to
//! inboxes, [`dispatch`] locates devices and hands records to servers, and [`publisher`] carries the
//! records there. [`channel`] does the same for channels, with one record per server.

pub(super) mod acks;
pub(super) mod broadcast;
mod change;
pub(super) mod channel;
mod dedup;
pub(super) mod device;
pub(super) mod dispatch;
pub(super) mod error;
pub(super) mod log;
pub(super) mod message;
pub(super) mod message_ids;
pub(super) mod publisher;
pub(super) mod receipt;
pub(super) mod server_directory;
mod stale_routes;
#[cfg(test)]
mod tests;
pub(super) mod validate;

use std::{collections::HashMap, num::NonZeroU64, sync::Arc};

use tracing::{Instrument as _, Level, Span, field::Empty};

use self::{
    change::MessageChanges,
    channel::ChannelSender,
    device::{Located, Reach},
    dispatch::{Dispatched, Dispatcher, Freshness},
    error::SendError,
    log::{InboxLogs, Logged},
    message::{
        Durability, InvalidMessage, Message, Prepared, Target, push_frame, push_frame_len,
        transient_push_frame,
    },
    message_ids::Ids,
    receipt::Receipt,
};
use crate::{
    backend::{amend::Amender, history::archiver::archive_all, lookup::MessageLookup},
    cluster::{ArchiveQueue, Cluster, DedupKey, LogId, LogPosition, RoutesError},
    content::Change,
    id::{MessageId, UserId},
    log_throttle::throttled,
    proto::{limits::MAX_FRAME_BYTES, pb},
};

/// The bytes of an entry in a page of history beyond its own. A logged message must fit into such a
/// page too.
pub(super) const HISTORY_OVERHEAD: usize = 64;

/// The number of users up to which a linear search is used.
const FEW: usize = 8;

/// Properties of a message that does not state them itself.
#[derive(Clone, Debug)]
pub(super) struct MessageDefaults {
    pub(super) durability: Durability,
    /// The durability of changes, which are always logged.
    pub(super) change_durability: Durability,
    /// The sender of a message to users that has none.
    pub(super) system_user: Option<UserId>,
}

/// Sends messages to users and to channels.
#[derive(Debug)]
pub(super) struct MessageSender {
    defaults: MessageDefaults,
    ids: Arc<Ids>,
    cluster: Cluster,
    inboxes: InboxLogs,
    channels: ChannelSender,
    changes: Arc<MessageChanges>,
    dispatcher: Arc<Dispatcher>,
}

impl MessageSender {
    pub(super) fn new(
        cluster: Cluster,
        defaults: MessageDefaults,
        ids: Arc<Ids>,
        lookup: Arc<MessageLookup>,
        amender: Arc<Amender>,
        dispatcher: Arc<Dispatcher>,
    ) -> Self {
        let changes = Arc::new(MessageChanges::new(cluster.clone(), lookup, amender));
        let inboxes = InboxLogs::new(Arc::clone(cluster.log()));
        let channels =
            ChannelSender::new(Arc::clone(cluster.log()), Arc::clone(&changes), Arc::clone(&dispatcher));
        Self { defaults, ids, cluster, inboxes, channels, changes, dispatcher }
    }

    /// Sends a message. See [`Im::send`](crate::backend::Im::send).
    pub(super) fn send(
        &self,
        message: Message,
    ) -> impl Future<Output = Result<Receipt, SendError>> + Send + use<'_> {
        self.start(self.prepare(message), None)
    }

    /// Sends the message that a device published. The device's number of it, `once`, makes repetitions
    /// one effect. Does not wait for the servers' answers: the receipt covers the logs alone. The
    /// publishes of one device are handed to the servers in order.
    ///
    /// `writer` is the publishing user, whose share of each log is used, whatever sender the message
    /// names.
    pub(super) fn send_once(
        &self,
        message: Message,
        once: DedupKey,
        writer: &UserId,
    ) -> impl Future<Output = Result<Receipt, SendError>> + Send + use<'_> {
        let prepared = self.prepare(message).map(|mut prepared| {
            prepared.writer = Some(writer.clone());
            prepared
        });
        self.start(prepared, Some(once))
    }

    /// Changes a message that was sent to `target`. See [`Im::change`](crate::backend::Im::change).
    pub(super) async fn change(&self, target: Target, change: Change) -> Result<Receipt, SendError> {
        let durability = self.defaults.change_durability;
        self.send(Message::to(target).content(change).durability(durability)).await
    }

    /// Recalls a message by its id. See [`Im::recall`](crate::backend::Im::recall).
    pub(super) async fn recall(&self, id: MessageId) -> Result<Receipt, SendError> {
        let target = self.changes.find_target(id).await?;
        self.change(target, Change::recall(id)).await
    }

    /// Validates a message. The result is boxed because every step's future would copy it.
    fn prepare(&self, message: Message) -> Result<Box<Prepared>, SendError> {
        let message = message.or_durability(self.defaults.durability);
        Ok(Box::new(message.or_system_user(self.defaults.system_user.as_ref()).prepare()?))
    }

    /// Sends a prepared message, in a span if spans are enabled. Takes what is prepared, since a future
    /// that holds the message itself would be larger.
    async fn start(
        &self,
        prepared: Result<Box<Prepared>, SendError>,
        once: Option<DedupKey>,
    ) -> Result<Receipt, SendError> {
        let prepared = prepared?;
        if tracing::span_enabled!(Level::DEBUG) {
            let span = span(&prepared);
            // Boxed: an instrumented future would enlarge every send.
            return Box::pin(self.send_prepared(prepared, once).instrument(span)).await;
        }
        self.send_prepared(prepared, once).await
    }

    async fn send_prepared(
        &self,
        mut prepared: Box<Prepared>,
        once: Option<DedupKey>,
    ) -> Result<Receipt, SendError> {
        if prepared.changes.is_some() {
            // Boxed: most messages change nothing.
            Box::pin(self.changes.prepare(&mut prepared)).await?;
        }
        let id = self.ids.next().await?;
        if tracing::span_enabled!(Level::DEBUG) {
            Span::current().record("message_id", tracing::field::display(id));
        }
        let archive = match prepared.durability {
            Durability::Archived => Some(self.cluster.archive().ok_or(SendError::NoArchive)?),
            Durability::Transient | Durability::Logged => None,
        };
        match (prepared.channel.take(), prepared.durability) {
            // Boxed: a rare and large future must not enlarge every send.
            (Some(channel), _) => Box::pin(self.channels.send(id, prepared, channel, once, archive)).await,
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
        let wanted = |device: &crate::id::Device| prepared.wants(device.terminal);
        let devices = self.dispatcher.locate(&prepared.users, Freshness::Cached, wanted).await?;
        let frame = transient_push_frame(prepared.encode(id));
        check_size(frame.len())?;
        let waits = once.is_none();
        let once = once.or_else(|| prepared.once());
        // The lowest id, so that the order in which a retry names the recipients does not matter.
        if let Some(owner) = prepared.owner().or(prepared.users.iter().min())
            && let Some(first) =
                dedup::sent_before(self.cluster.log(), LogId::Inbox(owner.clone()), id, once.as_ref()).await?
        {
            return Ok(Receipt { repeated: true, ..Receipt::new(first, Durability::Transient) });
        }
        let effect = |_: &UserId| Some(pb::record::Effect::Frames(frame.clone()));
        let dispatched = self.dispatcher.dispatch(devices, effect).await;
        let receipt = Receipt::new(id, Durability::Transient);
        if !waits {
            self.dispatcher.collect_in_background(dispatched);
            return Ok(receipt);
        }
        let reached = self.dispatcher.collect(dispatched).await;
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
        check_size(push_frame_len(&message, NonZeroU64::MAX) + HISTORY_OVERHEAD)?;
        let logged = self.inboxes.append(id, message, &prepared, once).await?;
        // The message is in the logs, so devices get it even if archiving fails.
        let (reached, archived) = match archive {
            None => (self.push_logged(&logged, waits).await, Ok(())),
            Some(_) => {
                let position = |(user, seq): &(UserId, NonZeroU64)| {
                    LogPosition::new(LogId::Inbox(user.clone()), seq.get())
                };
                let archived = archive_all(archive, &logged.message, logged.seqs.iter().map(position));
                // Boxed: most messages are not archived.
                Box::pin(async { tokio::join!(self.push_logged(&logged, waits), archived) }).await
            }
        };
        let amended = match prepared.amends {
            None => Ok(()),
            // Boxed: most messages change nothing.
            Some(seq) => Box::pin(self.changes.carry_out(&logged.message, seq, &inboxes(&logged))).await,
        };
        if let Some(deleted) = prepared.deletes {
            let users = logged.seqs.iter().chain(&logged.earlier).map(|(user, _)| user);
            Box::pin(self.changes.carry_out_deletion(logged.message_id, deleted, users)).await?;
        }
        archived.map_err(|cause| SendError::NotArchived { message_id: logged.message_id, cause })?;
        amended?;
        let mut receipt = Receipt::new(logged.message_id, prepared.durability);
        receipt.repeated = logged.repeated;
        // The receipt leaves out a sender who is no recipient, although that inbox has an entry too.
        let sender = prepared.from.filter(|sender| !prepared.users.contains(sender));
        let recipient = |user: &UserId| Some(user) != sender.as_ref();
        receipt.logged = logged.seqs.into_iter().map(|(user, seq)| (user, seq.get())).collect();
        receipt.logged.extend(logged.earlier.into_iter().map(|(user, seq)| (user, seq.get())));
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

    /// Pushes a logged message. The message is safe: a failure delays it until the device's next sync.
    /// Returns `None` if nobody could be located.
    async fn push_logged(&self, logged: &Logged, waits: bool) -> Option<Vec<(Located, Reach)>> {
        let dispatched = match self.dispatch_logged(logged).await {
            Ok(dispatched) => dispatched,
            Err(error) => {
                throttled!(warn, %error, "cannot push a logged message: devices get it with their next sync");
                return None;
            }
        };
        if waits {
            return Some(self.dispatcher.collect(dispatched).await);
        }
        self.dispatcher.collect_in_background(dispatched);
        Some(Vec::new())
    }

    async fn dispatch_logged(&self, logged: &Logged) -> Result<Vec<Dispatched>, RoutesError> {
        let users: Vec<UserId> = logged.seqs.iter().map(|(user, _)| user.clone()).collect();
        let devices = self.dispatcher.locate(&users, Freshness::BehindAppend, |_| true).await?;
        // Encoded for users with connected devices alone. A user without a seq would get nothing.
        let frames = |seq| pb::record::Effect::Frames(push_frame(logged.message.clone(), seq));
        if logged.seqs.len() <= FEW {
            let seq =
                |user: &UserId| logged.seqs.iter().find(|(other, _)| other == user).map(|(_, seq)| *seq);
            return Ok(self.dispatcher.dispatch(devices, |user| seq(user).map(frames)).await);
        }
        let seqs: HashMap<&UserId, NonZeroU64> = logged.seqs.iter().map(|(user, seq)| (user, *seq)).collect();
        Ok(self.dispatcher.dispatch(devices, |user| seqs.get(user).copied().map(frames)).await)
    }
}

/// Returns the span of a send, which gets the message id once that is issued.
fn span(prepared: &Prepared) -> Span {
    let to = match (&prepared.channel, prepared.users.as_slice()) {
        (Some(_), _) => "channel",
        (None, [_]) => "user",
        (None, _) => "users",
    };
    tracing::debug_span!("send", message_id = Empty, to, durability = ?prepared.durability)
}

fn inboxes(logged: &Logged) -> Vec<LogId> {
    logged.seqs.iter().map(|(user, _)| LogId::Inbox(user.clone())).collect()
}

pub(super) fn check_size(bytes: usize) -> Result<(), InvalidMessage> {
    let limit = MAX_FRAME_BYTES;
    if bytes <= limit { Ok(()) } else { Err(InvalidMessage::TooLarge { bytes, limit }) }
}
