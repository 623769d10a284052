//! HOT PATH 1 for channels: one append, one envelope per server that holds members, whatever their number.

use std::{collections::HashSet, sync::Arc};

use bytes::Bytes;
use futures_util::future::join;
use tokio::{sync::oneshot, time::Instant};

use super::{
    archive::archive_all,
    im::Im,
    message::{Durability, Prepared, Priority, channel_push_frame},
    publisher::Outcome,
    receipt::{ChannelReceipt, Receipt},
    send::{HISTORY_OVERHEAD, SendError, check_size, wait},
};
use crate::{
    cluster::{
        Appended, ArchiveQueue, DedupKey, Entry, LogError, LogId, LogPosition, NewEntry, ReadLimit,
        RoutesError,
    },
    id::{ChannelId, MessageId, ServerId, UserId},
    log_throttle::throttled,
    proto::pb,
};

/// A server that was asked to push, and its answer.
pub(super) type Asked = Vec<(ServerId, Option<oneshot::Receiver<Outcome>>)>;

/// Who was asked to push what is in a channel's log.
#[derive(Debug, Default)]
struct Told {
    asked: Asked,
    /// There may be others.
    unlocated: bool,
}

impl Im {
    /// Sends a message to the members of a channel. A device's publish does not wait for what the servers say.
    pub(super) async fn send_to_channel(
        &self,
        id: MessageId,
        prepared: Box<Prepared>,
        channel: ChannelId,
        once: Option<DedupKey>,
        archive: Option<&Arc<dyn ArchiveQueue>>,
    ) -> Result<Receipt, SendError> {
        let message = prepared.encode(id);
        check_size(channel_push_frame(message.clone(), &channel, u64::MAX).len() + HISTORY_OVERHEAD)?;
        if prepared.durability == Durability::Live {
            return self.send_live_to_channel(id, message, prepared, channel, once).await;
        }
        let waits = once.is_none();
        let once = once.or_else(|| prepared.once());
        // A key's digest is of the content: the same key makes the same message. A handler may make something else of the
        // same publish.
        let same = matches!(once, Some(DedupKey::Key { .. }));
        let (appended, found, told) =
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
        let asked = if waits { told.asked } else { Asked::new() };
        let message_id = appended.message_id;
        let (mut reached, archived) = join(self.reached(channel, appended.seq, asked), archived).await;
        let amended = match prepared.amends {
            None => Ok(()),
            // Boxed for those that change nothing.
            Some(seq) => Box::pin(self.carry_out(&message, seq, &[log])).await,
        };
        archived.map_err(|source| SendError::NotArchived { message_id, source })?;
        amended?;
        let mut receipt = Receipt::new(message_id, prepared.durability);
        receipt.repeated = appended.repeated;
        reached.unlocated = told.unlocated;
        receipt.channel = Some(reached);
        Ok(receipt)
    }

    async fn send_live_to_channel(
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
        let mut asked = Asked::new();
        if first.is_none() {
            let frame = channel_push_frame(message, &channel, 0);
            asked = self.push_to(&servers, &channel, frame, prepared.priority).await;
        }
        let asked = if waits { asked } else { Asked::new() };
        let mut receipt = Receipt::new(first.unwrap_or(id), Durability::Live);
        receipt.repeated = first.is_some();
        receipt.channel = Some(self.reached(channel, 0, asked).await);
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
    ) -> Result<(Appended, Option<Bytes>, Told), SendError> {
        let entry = NewEntry { message_id: id, payload: message, dedup_key: once, writer, is_checked: false };
        let append = self.append_to_channel(channel, entry);
        let (appended, early) = join(append, self.servers_of(channel)).await;
        let (appended, message) = appended?;
        let mut told = Told::default();
        // A repetition of what is no longer in the log was pushed long ago.
        if let Some(message) = &message {
            let frame = channel_push_frame(message.clone(), channel, appended.seq);
            let early = early.unwrap_or_default();
            told.asked = self.push_to(&early, channel, frame.clone(), Priority::Must).await;
            let late = self.servers_of(channel).await;
            told.unlocated = late.is_err();
            // The message is safe: what fails from here on delays it until the devices' next sync.
            let mut late = late.unwrap_or_else(|error| {
                throttled!(warn, %channel, %error, "a message in a channel's log could not be pushed to all servers");
                HashSet::new()
            });
            late.retain(|server| !early.contains(server));
            told.asked.append(&mut self.push_to(&late, channel, frame, Priority::Must).await);
        }
        Ok((appended, message, told))
    }

    /// Where the message is, and what stands there: with an earlier attempt that one's. `None`: not any more.
    async fn append_to_channel(
        &self,
        channel: &ChannelId,
        entry: NewEntry,
    ) -> Result<(Appended, Option<Bytes>), SendError> {
        let (log, message) = (LogId::Channel(channel.clone()), entry.payload.clone());
        let not_logged = |error| SendError::not_in_channel(channel, error);
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
    pub(super) async fn servers_of(&self, channel: &ChannelId) -> Result<HashSet<ServerId>, RoutesError> {
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
    ) -> Asked {
        let effect = Some(pb::record::Effect::Frames(frame));
        let priority = pb::Priority::from(priority).into();
        let record = pb::Record { channel: channel.to_string(), effect, priority, ..pb::Record::default() };
        self.ask_all(servers, &record).await
    }

    /// Asks each server for the same, in their order.
    pub(super) async fn ask_all(
        &self,
        servers: impl IntoIterator<Item = &ServerId>,
        record: &pb::Record,
    ) -> Asked {
        let deadline = Instant::now() + self.inner.config.send_timeout;
        let mut asked = Asked::new();
        for server in servers {
            let outcome = self.inner.publisher.submit_by(server, record.clone(), deadline).await;
            asked.push((server.clone(), outcome));
        }
        asked
    }

    pub(super) async fn reached(&self, channel: ChannelId, seq: u64, asked: Asked) -> ChannelReceipt {
        let deadline = Instant::now() + self.inner.config.send_timeout;
        let (mut pushed, mut unconfirmed) = (Vec::new(), Vec::new());
        let (mut connections, mut shed) = (0, 0);
        for (server, outcome) in asked {
            match wait(outcome, deadline).await {
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

impl SendError {
    pub(super) fn not_in_channel(channel: &ChannelId, error: LogError) -> Self {
        match error {
            LogError::Conflict => Self::Conflict,
            source => Self::NotInChannel { channel: channel.clone(), source },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use async_trait::async_trait;
    use prost::Message as _;

    use super::*;
    use crate::{
        backend::{ImConfig, Message, channel},
        cluster::{
            AckQuery, AckStore, BusEvent, Cluster, DeviceAck, LogBounds, LogEnds, LogStore, MemoryBus,
            MemoryLog, MemoryRoutes, Page, Routes,
        },
        id::Device,
        proto::pb::ServerInfo,
    };

    /// A log during whose appends a server gets its first member of the channel.
    #[derive(Debug)]
    struct Meanwhile {
        log: MemoryLog,
        routes: MemoryRoutes,
        server: ServerId,
    }

    #[async_trait]
    impl LogStore for Meanwhile {
        async fn append(&self, log: &LogId, entry: NewEntry) -> Result<Appended, LogError> {
            // The servers are asked for now.
            tokio::task::yield_now().await;
            self.routes.join_channels(&self.server, &["team".parse().unwrap()]).await.unwrap();
            self.log.append(log, entry).await
        }

        async fn append_many(&self, entries: Vec<(LogId, NewEntry)>) -> Vec<Result<Appended, LogError>> {
            self.log.append_many(entries).await
        }

        async fn read(&self, log: &LogId, after: u64, limit: ReadLimit) -> Result<Page, LogError> {
            self.log.read(log, after, limit).await
        }

        async fn read_back(
            &self,
            log: &LogId,
            before: Option<u64>,
            limit: ReadLimit,
        ) -> Result<Page, LogError> {
            self.log.read_back(log, before, limit).await
        }

        async fn replace(
            &self,
            log: &LogId,
            seq: u64,
            message_id: MessageId,
            payload: Bytes,
        ) -> Result<bool, LogError> {
            self.log.replace(log, seq, message_id, payload).await
        }

        async fn id_at(&self, log: &LogId, seq: u64) -> Result<Option<MessageId>, LogError> {
            self.log.id_at(log, seq).await
        }

        async fn ends(&self, logs: &[LogId]) -> Result<Vec<LogEnds>, LogError> {
            self.log.ends(logs).await
        }
    }

    #[async_trait]
    impl AckStore for Meanwhile {
        async fn note_acks(&self, acks: &[DeviceAck]) -> Result<Vec<bool>, LogError> {
            self.log.note_acks(acks).await
        }

        async fn acked(&self, questions: &[AckQuery]) -> Result<Vec<Vec<(Device, u64)>>, LogError> {
            self.log.acked(questions).await
        }

        async fn lower_ack(&self, ack: &DeviceAck) -> Result<(), LogError> {
            self.log.lower_ack(ack).await
        }
    }

    #[tokio::test]
    async fn a_server_that_gets_its_first_member_while_a_message_is_appended_is_told() {
        let (routes, server) = (MemoryRoutes::new(), ServerId::parse("s1").unwrap());
        let lease = Duration::from_secs(60);
        assert!(routes.lease_server(&server, &ServerInfo::default(), lease, true).await.unwrap());
        let log = MemoryLog::new(LogBounds::default());
        let log = Meanwhile { log, routes: routes.clone(), server: server.clone() };
        let cluster = Cluster::new(Arc::new(routes), Arc::new(MemoryBus::new()), Arc::new(log));
        let subject = cluster.names().server(&server);
        let mut subscription = cluster.bus().subscribe(subject).await.unwrap();
        let config = ImConfig { send_timeout: Duration::from_millis(50), ..ImConfig::default() };
        let im = Im::start(cluster, config).await.unwrap();
        let receipt = im.send(Message::to(channel("team")).text("hi")).await.unwrap();
        let told = receipt.channel.unwrap();
        assert_eq!((told.seq, told.unconfirmed), (1, vec![server]), "this one never answers");
        let Some(BusEvent::Message(message)) = subscription.next().await else { panic!("an envelope") };
        let envelope = pb::Envelope::decode(message.payload).unwrap();
        let channels: Vec<&str> = envelope.records.iter().map(|record| &*record.channel).collect();
        assert_eq!(channels, ["team"]);
    }
}
