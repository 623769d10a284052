//! Sends to channels, **hot path 1** for channels: one append, and one record per server that holds members, whatever their number.

use std::{collections::HashSet, sync::Arc};

use bytes::Bytes;
use futures_util::future::join;

use super::{
    HISTORY_OVERHEAD, SendError, check_size,
    message::{Durability, Prepared, Priority, channel_push_frame},
    publisher::{Delivery, Outcome},
    receipt::{ChannelReceipt, Receipt},
};
use crate::{
    backend::{history::archiver::archive_all, im::Im},
    cluster::{
        Appended, ArchiveQueue, DedupKey, Entry, LogId, LogPosition, NewEntry, ReadLimit, RoutesError,
    },
    id::{ChannelId, MessageId, ServerId, UserId},
    log_throttle::throttled,
    proto::pb,
};

/// Servers that were handed a record, with its deliveries.
pub(in crate::backend) type Dispatched = Vec<(ServerId, Delivery)>;

/// The servers that were handed what is in a channel's log.
#[derive(Debug, Default)]
struct Pushed {
    dispatched: Dispatched,
    /// There may be other servers that hold members.
    unlocated: bool,
}

impl Im {
    /// Sends a message to the members of a channel. A device's publish does not wait for what the servers say.
    pub(in crate::backend) async fn send_to_channel(
        &self,
        id: MessageId,
        prepared: Box<Prepared>,
        channel: ChannelId,
        once: Option<DedupKey>,
        archive: Option<&Arc<dyn ArchiveQueue>>,
    ) -> Result<Receipt, SendError> {
        let message = prepared.encode(id);
        check_size(channel_push_frame(message.clone(), &channel, u64::MAX).len() + HISTORY_OVERHEAD)?;
        if prepared.durability == Durability::Transient {
            return self.send_transient_to_channel(id, message, prepared, channel, once).await;
        }
        let waits = once.is_none();
        let once = once.or_else(|| prepared.once());
        // A key's digest is of the content: the same key makes the same message. A handler may make something else of the
        // same publish.
        let same = matches!(once, Some(DedupKey::Key { .. }));
        let (appended, found, pushed) =
            self.log_to_channel(id, message, &channel, once, prepared.writer.clone()).await?;
        let place = LogPosition::new(LogId::Channel(channel.clone()), appended.seq);
        let archived = match found {
            Some(message) => message,
            None if same || archive.is_none() => prepared.encode(appended.message_id),
            None => return Err(SendError::Trimmed { log: place.log }),
        };
        let log = place.log.clone();
        let message = archived;
        let archived = archive_all(archive, &message, std::iter::once(place));
        let dispatched = if waits { pushed.dispatched } else { Dispatched::new() };
        let message_id = appended.message_id;
        let (mut reached, archived) =
            join(self.collect_channel(channel, appended.seq, dispatched), archived).await;
        let amended = match prepared.amends {
            None => Ok(()),
            // Boxed for those that change nothing.
            Some(seq) => Box::pin(self.carry_out(&message, seq, &[log])).await,
        };
        archived.map_err(|cause| SendError::NotArchived { message_id, cause })?;
        amended?;
        let mut receipt = Receipt::new(message_id, prepared.durability);
        receipt.repeated = appended.repeated;
        reached.unlocated = pushed.unlocated;
        receipt.channel = Some(reached);
        Ok(receipt)
    }

    async fn send_transient_to_channel(
        &self,
        id: MessageId,
        message: Bytes,
        prepared: Box<Prepared>,
        channel: ChannelId,
        once: Option<DedupKey>,
    ) -> Result<Receipt, SendError> {
        let servers = self.servers_of(&channel).await?;
        let waits = once.is_none();
        let once = once.or_else(|| prepared.once());
        let first = self.sent_before(LogId::Channel(channel.clone()), id, once.as_ref()).await?;
        let mut dispatched = Dispatched::new();
        if first.is_none() {
            let frame = channel_push_frame(message, &channel, 0);
            dispatched = self.push_to(&servers, &channel, frame, prepared.priority).await;
        }
        let dispatched = if waits { dispatched } else { Dispatched::new() };
        let mut receipt = Receipt::new(first.unwrap_or(id), Durability::Transient);
        receipt.repeated = first.is_some();
        receipt.channel = Some(self.collect_channel(channel, 0, dispatched).await);
        Ok(receipt)
    }

    /// Appends it, and has it pushed by every server that has members.
    ///
    /// The servers are asked for together with the append. That may have been answered before the append, and a server
    /// that has its first member since then, who has read the log before the append, would be passed over. So they are
    /// asked for once more, while the first ones push already.
    async fn log_to_channel(
        &self,
        id: MessageId,
        message: Bytes,
        channel: &ChannelId,
        once: Option<DedupKey>,
        writer: Option<UserId>,
    ) -> Result<(Appended, Option<Bytes>, Pushed), SendError> {
        let entry = NewEntry { message_id: id, payload: message, dedup_key: once, writer, is_checked: false };
        let append = self.append_to_channel(channel, entry);
        let (appended, early) = join(append, self.servers_of(channel)).await;
        let (appended, message) = appended?;
        let mut pushed = Pushed::default();
        // A repetition of what is no longer in the log was pushed long ago.
        if let Some(message) = &message {
            let frame = channel_push_frame(message.clone(), channel, appended.seq);
            let early = early.unwrap_or_default();
            pushed.dispatched = self.push_to(&early, channel, frame.clone(), Priority::DisconnectSlow).await;
            let late = self.servers_of(channel).await;
            pushed.unlocated = late.is_err();
            // The message is safe: what fails from here on delays it until the devices' next sync.
            let mut late = late.unwrap_or_else(|error| {
                throttled!(warn, %channel, %error, "a message in a channel's log could not be pushed to all servers");
                HashSet::new()
            });
            late.retain(|server| !early.contains(server));
            pushed
                .dispatched
                .append(&mut self.push_to(&late, channel, frame, Priority::DisconnectSlow).await);
        }
        Ok((appended, message, pushed))
    }

    /// Where the message is, and what stands there: with an earlier attempt that one's. `None`: not any more.
    async fn append_to_channel(
        &self,
        channel: &ChannelId,
        entry: NewEntry,
    ) -> Result<(Appended, Option<Bytes>), SendError> {
        let (log, message) = (LogId::Channel(channel.clone()), entry.payload.clone());
        let not_logged = |error| SendError::not_logged(log.clone(), error);
        let appended = self.inner.cluster.log().append(&log, entry).await.map_err(not_logged)?;
        if !appended.repeated {
            return Ok((appended, Some(message)));
        }
        let page =
            self.inner.cluster.log().read(&log, appended.seq.saturating_sub(1), ReadLimit::new(1)).await;
        let is_it = |entry: &Entry| entry.seq == appended.seq && entry.message_id == appended.message_id;
        let first = page.map_err(not_logged)?.entries.pop().filter(is_it);
        Ok((appended, first.map(|entry| entry.payload)))
    }

    /// The live servers that hold connections of a channel's members. Dead ones' routes are swept.
    pub(in crate::backend) async fn servers_of(
        &self,
        channel: &ChannelId,
    ) -> Result<HashSet<ServerId>, RoutesError> {
        let mut live = HashSet::new();
        for server in self.inner.cluster.routes().channel_servers(channel).await? {
            if self.inner.directory.lives(&server).await? {
                live.insert(server);
            } else {
                self.sweep_channel(server, channel.clone());
            }
        }
        Ok(live)
    }

    fn sweep_channel(&self, dead: ServerId, channel: ChannelId) {
        let routes = self.inner.cluster.routes().clone();
        self.inner.tasks.spawn(async move {
            if let Err(error) = routes.leave_channels(&dead, std::slice::from_ref(&channel)).await {
                tracing::debug!(%channel, %error, "cannot sweep a stale route of a channel");
            }
        });
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
        self.dispatch_to_all(servers, &record).await
    }

    /// Hands each server the same record, in their order.
    pub(in crate::backend) async fn dispatch_to_all(
        &self,
        servers: impl IntoIterator<Item = &ServerId>,
        record: &pb::Record,
    ) -> Dispatched {
        let deadline = self.inner.publisher.deadline();
        let mut dispatched = Dispatched::new();
        for server in servers {
            let delivery = self.inner.publisher.submit(server, record.clone(), deadline).await;
            dispatched.push((server.clone(), delivery));
        }
        dispatched
    }

    /// Waits until all servers have answered or the time is over.
    pub(in crate::backend) async fn collect_channel(
        &self,
        channel: ChannelId,
        seq: u64,
        dispatched: Dispatched,
    ) -> ChannelReceipt {
        let (mut pushed, mut unconfirmed) = (Vec::new(), Vec::new());
        let (mut connections, mut shed) = (0, 0);
        for (server, delivery) in dispatched {
            match delivery.await {
                Outcome::Done { reached, .. } => {
                    connections += reached.map_or(0, |reached| u64::from(reached.connections));
                    shed += reached.map_or(0, |reached| u64::from(reached.shed));
                    pushed.push(server);
                }
                // Its devices come back elsewhere, and get it there.
                Outcome::ServerGone => {}
                Outcome::Unknown => unconfirmed.push(server),
            }
        }
        ChannelReceipt { channel, seq, pushed, unconfirmed, connections, shed, unlocated: false }
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use async_trait::async_trait;
    use prost::Message as _;

    use super::*;
    use crate::{
        backend::{
            Message, channel,
            test_support::hooked_log::{HookedLog, LogHooks},
        },
        cluster::{BusEvent, Cluster, LogBounds, LogError, MemoryBus, MemoryLog, MemoryRoutes, Routes},
        proto::pb::ServerInfo,
    };

    /// During an append a server gets its first member of the channel.
    #[derive(Debug)]
    struct JoinsMeanwhile {
        routes: MemoryRoutes,
        server: ServerId,
    }

    #[async_trait]
    impl LogHooks for JoinsMeanwhile {
        async fn before_append(&self, _: &LogId) -> Result<(), LogError> {
            // The servers are asked for now.
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
