//! The archive's queue in a JetStream stream.
//!
//! The stream is a work queue: a record leaves it when it is acknowledged, and a record that does
//! not fit is refused instead of pushing another one out. All archivers share one durable consumer.

use std::{error::Error as _, time::Duration};

use async_nats::{
    Client,
    jetstream::{
        self, Context, ContextBuilder, ErrorCode,
        consumer::{AckPolicy, DeliverPolicy, PullConsumer, pull},
        context::{PublishError, PublishErrorKind},
        message::PublishMessage,
        stream::{self, DiscardPolicy, RetentionPolicy, StorageType},
    },
};
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt as _;
use tokio::time::timeout;

use super::bus::{NatsBus, places};
use crate::cluster::{
    config::{ClusterConfig, ConnectError, unreachable_archive},
    diagnostics::versions::ARCHIVE,
    names::Names,
    traits::{
        ArchiveConfig, ArchiveDelivery, ArchiveError, ArchiveLag, ArchiveQueue, ArchiveRecord, DeliveryToken,
        archive_record::key,
    },
};

/// The maximum number of appends that wait for JetStream; further ones wait for their turn.
const WAITING_APPENDS: usize = 4096;

/// The maximum number of records that all archivers together have fetched and not acknowledged.
const MAX_TAKEN_OUT: i64 = 16 * 1024;

/// The time for which JetStream recognises a repeated record, even after it has left the stream.
const DUPLICATE_WINDOW: Duration = Duration::from_secs(120);

/// A queue in a JetStream stream, which is created if it is missing.
///
/// An append returns `Ok` when JetStream has acknowledged it. With [`ArchiveConfig::replicas`] of 3
/// or more the record is then on several machines. With 1 it survives a crash of NATS, and a crash
/// of its machine as far as the disk was written.
pub struct JetStreamArchiveQueue {
    client: Client,
    context: Context,
    names: Names,
    config: ArchiveConfig,
    consumer: PullConsumer,
    /// The time limit of a request.
    patience: Duration,
}

impl JetStreamArchiveQueue {
    /// Connects to the servers of the configuration, which must have [`ClusterConfig::archive`]
    /// set.
    ///
    /// # Errors
    /// [`ConnectError`].
    pub async fn connect(config: &ClusterConfig) -> Result<Self, ConnectError> {
        let bus = NatsBus::connect(config).await?;
        let no_settings = || unreachable_archive(&config.prefix, "ClusterConfig::archive is not set");
        Self::of(&bus, config).await?.ok_or_else(no_settings)
    }

    /// Uses a bus's connection. Returns `None` if no archive is configured.
    pub(in crate::cluster) async fn of(
        bus: &NatsBus,
        config: &ClusterConfig,
    ) -> Result<Option<Self>, ConnectError> {
        let Some(settings) = config.archive else { return Ok(None) };
        let (client, names) = (bus.client().clone(), config.names()?);
        ARCHIVE.check(&places(config), &client.server_info().version)?;
        let context = ContextBuilder::new()
            .timeout(config.request_timeout)
            .max_ack_inflight(WAITING_APPENDS)
            .build(client.clone());
        let preparing = timeout(config.connect_timeout, prepare(&context, &names, &settings)).await;
        let stream = names.archive_stream();
        let consumer = match preparing {
            Ok(prepared) => prepared.map_err(|error| unreachable_archive(&stream, error))?,
            Err(elapsed) => return Err(unreachable_archive(&stream, elapsed)),
        };
        let patience = config.request_timeout;
        Ok(Some(Self { client, context, names, config: settings, consumer, patience }))
    }

    async fn publish(&self, encoded: Bytes) -> Result<(), PublishError> {
        let id: String = key(&encoded).iter().map(|byte| format!("{byte:02x}")).collect();
        let message = PublishMessage::build().payload(encoded).message_id(id);
        let subject = self.names.archive().to_string();
        self.context.send_publish(subject, message).await?.await.map(drop)
    }

    /// Creates the stream and its consumer again if somebody has removed them.
    async fn mend(&self) {
        if let Err(error) = prepare(&self.context, &self.names, &self.config).await {
            tracing::warn!(%error, "cannot recreate the archive's stream");
        }
    }

    /// Fetches available records, without waiting for more.
    async fn take(&self, limit: usize) -> Result<Vec<ArchiveDelivery>, ArchiveError> {
        let pulling = async {
            let mut batch = self.consumer.fetch().max_messages(limit).messages().await?;
            let mut taken = Vec::new();
            while let Some(message) = batch.next().await {
                taken.extend(delivery(message?));
            }
            Ok::<_, async_nats::Error>(taken)
        };
        match timeout(self.patience, pulling).await {
            Ok(pulled) => pulled.map_err(|error| ArchiveError::unavailable(FETCH, error)),
            Err(elapsed) => Err(ArchiveError::unavailable(FETCH, elapsed)),
        }
    }

    /// Fetches the next record, as soon as there is one.
    async fn take_one(&self, wait: Duration) -> Result<Vec<ArchiveDelivery>, ArchiveError> {
        let pulling = async {
            let mut batch = self.consumer.batch().max_messages(1).expires(wait).messages().await?;
            let message = batch.next().await.transpose()?;
            Ok::<_, async_nats::Error>(message.and_then(delivery).into_iter().collect())
        };
        match timeout(wait + self.patience, pulling).await {
            Ok(pulled) => pulled.map_err(|error| ArchiveError::unavailable(FETCH, error)),
            Err(elapsed) => Err(ArchiveError::unavailable(FETCH, elapsed)),
        }
    }
}

const FETCH: &str = "hand out records";

#[async_trait]
impl ArchiveQueue for JetStreamArchiveQueue {
    async fn append(&self, record: ArchiveRecord) -> Result<(), ArchiveError> {
        let encoded = record.encode();
        let bytes = encoded.len();
        let error = match timeout(self.patience, self.publish(encoded)).await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) => error,
            Err(elapsed) => return Err(ArchiveError::unknown(elapsed)),
        };
        match error.kind() {
            PublishErrorKind::StreamNotFound => self.mend().await,
            PublishErrorKind::MaxPayloadExceeded => {
                return Err(ArchiveError::TooLarge { bytes, limit: self.client.max_payload() });
            }
            _ if is_full(&error) => return Err(ArchiveError::Full),
            _ => {}
        }
        Err(ArchiveError::unknown(error))
    }

    async fn fetch(&self, limit: usize, wait: Duration) -> Result<Vec<ArchiveDelivery>, ArchiveError> {
        if limit == 0 {
            return Ok(Vec::new());
        }
        let fetched = match self.take(limit).await {
            Ok(taken) if taken.is_empty() && !wait.is_zero() => self.take_one(wait).await,
            taken => taken,
        };
        if fetched.is_err() {
            self.mend().await;
        }
        fetched
    }

    async fn acknowledge(&self, deliveries: Vec<DeliveryToken>) -> Result<(), ArchiveError> {
        let unavailable = |error: async_nats::Error| ArchiveError::unavailable(REMOVE, error);
        let acknowledging = async {
            for token in deliveries {
                self.client.publish(token.as_str().to_owned(), ACK).await?;
            }
            self.client.flush().await?;
            Ok(())
        };
        match timeout(self.patience, acknowledging).await {
            Ok(acknowledged) => acknowledged.map_err(unavailable),
            Err(elapsed) => Err(unavailable(elapsed.into())),
        }
    }

    async fn lag(&self) -> Result<ArchiveLag, ArchiveError> {
        let info = timeout(self.patience, self.consumer.get_info()).await;
        let info = info.map_err(|error| ArchiveError::unavailable(COUNT, error))?;
        let info = info.map_err(|error| ArchiveError::unavailable(COUNT, error))?;
        Ok(ArchiveLag::new(info.num_pending, info.num_ack_pending as u64))
    }
}

impl std::fmt::Debug for JetStreamArchiveQueue {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("JetStreamArchiveQueue").field("names", &self.names).finish_non_exhaustive()
    }
}

const REMOVE: &str = "remove records";
const COUNT: &str = "count records";
const ACK: Bytes = Bytes::from_static(b"+ACK");

/// Returns the stream and its consumer, which are created if they are missing.
async fn prepare(
    context: &Context,
    names: &Names,
    config: &ArchiveConfig,
) -> Result<PullConsumer, async_nats::Error> {
    let stream = context
        .get_or_create_stream(stream::Config {
            name: names.archive_stream(),
            subjects: vec![names.archive().to_string()],
            retention: RetentionPolicy::WorkQueue,
            discard: DiscardPolicy::New,
            max_bytes: i64::try_from(config.max_bytes).unwrap_or(i64::MAX),
            storage: StorageType::File,
            num_replicas: config.replicas,
            duplicate_window: DUPLICATE_WINDOW,
            ..stream::Config::default()
        })
        .await?;
    let consumer = pull::Config {
        durable_name: Some(names.archivers()),
        ack_policy: AckPolicy::Explicit,
        deliver_policy: DeliverPolicy::All,
        ack_wait: config.redeliver_after,
        max_ack_pending: MAX_TAKEN_OUT,
        ..pull::Config::default()
    };
    Ok(stream.get_or_create_consumer(&names.archivers(), consumer).await?)
}

fn delivery(message: jetstream::Message) -> Option<ArchiveDelivery> {
    let token = DeliveryToken::new(message.reply.as_ref()?.as_str());
    let record = ArchiveRecord::decode(message.message.payload);
    if record.is_none() {
        // Another version may be able to read it: it stays in the stream, and in the lag.
        tracing::error!("the archive's stream holds a record of another version");
    }
    Some(ArchiveDelivery { record: record?, token })
}

/// Returns whether the stream is full. JetStream has one code for everything that keeps it from
/// storing a record, and a text.
fn is_full(error: &PublishError) -> bool {
    let source = error.source().and_then(|source| source.downcast_ref::<jetstream::Error>());
    source.is_some_and(|error| {
        error.error_code() == ErrorCode::STREAM_STORE_FAILED && error.to_string().contains("maximum")
    })
}
