//! Sends to channels, **hot path 1** for channels: one append, and one record per server with members,
//! however many members it has.

use std::{collections::HashSet, num::NonZeroU64, sync::Arc};

use bytes::Bytes;
use futures_util::future::join;

use super::{
    HISTORY_OVERHEAD,
    change::MessageChanges,
    check_size,
    dedup::sent_before,
    dispatch::Dispatcher,
    error::SendError,
    log::seq_of,
    message::{
        Durability, Prepared, Priority, channel_push_frame, channel_push_frame_len,
        transient_channel_push_frame,
    },
    publisher::{Delivery, Outcome},
    receipt::{ChannelReceipt, Receipt},
};
use crate::{
    backend::history::archiver::archive_all,
    cluster::{Appended, ArchiveQueue, DedupKey, Entry, LogId, LogPosition, LogStore, NewEntry, ReadLimit},
    id::{ChannelId, MessageId, ServerId, UserId},
    log_throttle::throttled,
    proto::pb,
};

/// A record for each server with members of a channel, on its way.
type Dispatched = Vec<(ServerId, Delivery)>;

/// A message in a channel's log, and on its way to the members' servers.
#[derive(Debug)]
struct Logged {
    message_id: MessageId,
    seq: NonZeroU64,
    repeated: bool,
    /// The logged message, which may be an earlier attempt's. `None` if the log has been trimmed since.
    message: Option<Bytes>,
    dispatched: Dispatched,
    /// Not all servers with members are known.
    unlocated: bool,
}

/// Sends messages to channels.
#[derive(Debug)]
pub(super) struct ChannelSender {
    log: Arc<dyn LogStore>,
    changes: Arc<MessageChanges>,
    dispatcher: Arc<Dispatcher>,
}

impl ChannelSender {
    pub(super) fn new(
        log: Arc<dyn LogStore>,
        changes: Arc<MessageChanges>,
        dispatcher: Arc<Dispatcher>,
    ) -> Self {
        Self { log, changes, dispatcher }
    }

    /// Sends a message to the members of a channel. With `once`, which a device's publish has, does not
    /// wait for the servers' answers.
    pub(super) async fn send(
        &self,
        id: MessageId,
        prepared: Box<Prepared>,
        channel: ChannelId,
        once: Option<DedupKey>,
        archive: Option<&Arc<dyn ArchiveQueue>>,
    ) -> Result<Receipt, SendError> {
        let message = prepared.encode(id);
        check_size(channel_push_frame_len(&message, &channel, NonZeroU64::MAX) + HISTORY_OVERHEAD)?;
        if prepared.durability == Durability::Transient {
            return self.send_transient(id, message, prepared, channel, once).await;
        }
        let waits = once.is_none();
        let once = once.or_else(|| prepared.once());
        // A key's digest covers the content, so the same key makes the same message. A handler may make
        // another message of the same publish.
        let same = matches!(once, Some(DedupKey::Key { .. }));
        let logged = self.append_and_push(id, message, &channel, once, prepared.writer.clone()).await?;
        let Logged { message_id, seq, repeated, message, dispatched, unlocated } = logged;
        let position = LogPosition::new(LogId::Channel(channel.clone()), seq.get());
        let message = match message {
            Some(message) => message,
            None if same || archive.is_none() => prepared.encode(message_id),
            None => return Err(SendError::Trimmed { log: position.log }),
        };
        let log = position.log.clone();
        let archived = archive_all(archive, &message, std::iter::once(position));
        let dispatched = if waits { dispatched } else { Dispatched::new() };
        let (mut reached, archived) = join(collect(channel, seq.get(), dispatched), archived).await;
        let amended = match prepared.amends {
            None => Ok(()),
            // Boxed: most messages change nothing.
            Some(seq) => Box::pin(self.changes.carry_out(&message, seq, &[log])).await,
        };
        archived.map_err(|cause| SendError::NotArchived { message_id, cause })?;
        amended?;
        let mut receipt = Receipt::new(message_id, prepared.durability);
        receipt.repeated = repeated;
        reached.unlocated = unlocated;
        receipt.channel = Some(reached);
        Ok(receipt)
    }

    async fn send_transient(
        &self,
        id: MessageId,
        message: Bytes,
        prepared: Box<Prepared>,
        channel: ChannelId,
        once: Option<DedupKey>,
    ) -> Result<Receipt, SendError> {
        let servers = self.dispatcher.servers_of(&channel).await?;
        let waits = once.is_none();
        let once = once.or_else(|| prepared.once());
        let first = sent_before(&self.log, LogId::Channel(channel.clone()), id, once.as_ref()).await?;
        let mut dispatched = Dispatched::new();
        if first.is_none() {
            let frame = transient_channel_push_frame(message, &channel);
            dispatched = self.push_to(&servers, &channel, frame, prepared.priority).await;
        }
        let dispatched = if waits { dispatched } else { Dispatched::new() };
        let mut receipt = Receipt::new(first.unwrap_or(id), Durability::Transient);
        receipt.repeated = first.is_some();
        receipt.channel = Some(collect(channel, 0, dispatched).await);
        Ok(receipt)
    }

    /// Appends a message, and hands it to every server with members.
    ///
    /// The servers are located during the append, and a server that gets its first member in between
    /// may be missing although that member has read the log before the append. So they are located once
    /// more, while the first ones push already.
    async fn append_and_push(
        &self,
        id: MessageId,
        message: Bytes,
        channel: &ChannelId,
        once: Option<DedupKey>,
        writer: Option<UserId>,
    ) -> Result<Logged, SendError> {
        let entry = NewEntry { message_id: id, payload: message, dedup_key: once, writer, is_checked: false };
        let append = self.append(channel, entry);
        let (appended, early) = join(append, self.dispatcher.servers_of(channel)).await;
        let (appended, message) = appended?;
        let seq = seq_of(&appended, || LogId::Channel(channel.clone()))?;
        let Appended { message_id, repeated, .. } = appended;
        let dispatched = Dispatched::new();
        let mut logged = Logged { message_id, seq, repeated, message, dispatched, unlocated: false };
        // A repetition of a message that is no longer in the log was pushed long ago.
        if let Some(message) = &logged.message {
            let frame = channel_push_frame(message.clone(), channel, seq);
            let early = early.unwrap_or_default();
            logged.dispatched = self.push_to(&early, channel, frame.clone(), Priority::DisconnectSlow).await;
            let late = self.dispatcher.servers_of(channel).await;
            logged.unlocated = late.is_err();
            // The message is safe: a failure from here on delays it until the devices' next sync.
            let mut late = late.unwrap_or_else(|error| {
                throttled!(warn, %channel, %error, "cannot push a channel's message to all servers: devices get it with their next sync");
                HashSet::new()
            });
            late.retain(|server| !early.contains(server));
            let late = self.push_to(&late, channel, frame, Priority::DisconnectSlow).await;
            logged.dispatched.extend(late);
        }
        Ok(logged)
    }

    /// Appends to the channel's log. Returns the logged message too, which may be an earlier attempt's,
    /// or `None` if the log has been trimmed since.
    async fn append(
        &self,
        channel: &ChannelId,
        entry: NewEntry,
    ) -> Result<(Appended, Option<Bytes>), SendError> {
        let (log, message) = (LogId::Channel(channel.clone()), entry.payload.clone());
        let not_logged = |error| SendError::not_logged(log.clone(), error);
        let appended = self.log.append(&log, entry).await.map_err(not_logged)?;
        if !appended.repeated {
            return Ok((appended, Some(message)));
        }
        let page = self.log.read(&log, appended.seq.saturating_sub(1), ReadLimit::new(1)).await;
        let is_it = |entry: &Entry| entry.seq == appended.seq && entry.message_id == appended.message_id;
        let first = page.map_err(not_logged)?.entries.pop().filter(is_it);
        Ok((appended, first.map(|entry| entry.payload)))
    }

    async fn push_to(
        &self,
        servers: &HashSet<ServerId>,
        channel: &ChannelId,
        frame: Bytes,
        priority: Priority,
    ) -> Dispatched {
        let effect = Some(pb::record::Effect::Frames(frame));
        let priority = pb::Priority::from(priority).into();
        let record = pb::Record { channel: channel.to_string(), effect, priority, ..pb::Record::default() };
        self.dispatcher.dispatch_to_all(servers, &record).await
    }
}

/// Waits until all servers have answered or the time is over.
async fn collect(channel: ChannelId, seq: u64, dispatched: Dispatched) -> ChannelReceipt {
    let (mut pushed, mut unconfirmed) = (Vec::new(), Vec::new());
    let (mut connections, mut shed) = (0, 0);
    for (server, delivery) in dispatched {
        match delivery.await {
            Outcome::Done { reached, .. } => {
                connections += reached.map_or(0, |reached| u64::from(reached.connections));
                shed += reached.map_or(0, |reached| u64::from(reached.shed));
                pushed.push(server);
            }
            // The server's devices reconnect elsewhere, and get the message there.
            Outcome::ServerGone => {}
            Outcome::Unknown => unconfirmed.push(server),
        }
    }
    ChannelReceipt { channel, seq, pushed, unconfirmed, connections, shed, unlocated: false }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use async_trait::async_trait;
    use prost::Message as _;

    use super::*;
    use crate::{
        backend::{
            Im, Message, channel,
            test_support::hooked_log::{HookedLog, LogHooks},
        },
        cluster::{BusEvent, Cluster, LogBounds, LogError, MemoryBus, MemoryLog, MemoryRoutes, Routes},
        proto::pb::ServerInfo,
    };

    /// Routes by which a server gets its first member of the channel during an append.
    #[derive(Debug)]
    struct JoinsMeanwhile {
        routes: MemoryRoutes,
        server: ServerId,
    }

    #[async_trait]
    impl LogHooks for JoinsMeanwhile {
        async fn before_append(&self, _: &LogId) -> Result<(), LogError> {
            // The servers are being located now.
            tokio::task::yield_now().await;
            self.routes.join_channels(&self.server, &["team".parse().unwrap()]).await.unwrap();
            Ok(())
        }
    }

    #[tokio::test]
    async fn a_server_that_gets_its_first_member_while_a_message_is_appended_is_told() {
        let (routes, server) = (MemoryRoutes::new(), ServerId::parse("s1").unwrap());
        let lease = Duration::from_secs(60);
        assert!(routes.lease_server(&server, &ServerInfo::default(), lease, true).await.unwrap());
        let hooks = JoinsMeanwhile { routes: routes.clone(), server: server.clone() };
        let log = HookedLog { log: MemoryLog::new(LogBounds::default()), hooks };
        let cluster = Cluster::new(Arc::new(routes), Arc::new(MemoryBus::new()), Arc::new(log));
        let subject = cluster.names().server(&server);
        let mut subscription = cluster.bus().subscribe(subject).await.unwrap();
        let config = Im::builder().send_timeout(Duration::from_millis(50));
        let im = config.start(cluster).await.unwrap();
        let receipt = im.send(Message::to(channel("team")).text("hi")).await.unwrap();
        let told = receipt.channel.unwrap();
        assert_eq!((told.seq, told.unconfirmed), (1, vec![server]), "this one never answers");
        let Some(BusEvent::Message(message)) = subscription.next().await else { panic!("an envelope") };
        let envelope = pb::Envelope::decode(message.payload).unwrap();
        let channels: Vec<&str> = envelope.records.iter().map(|record| &*record.channel).collect();
        assert_eq!(channels, ["team"]);
    }
}
