//! The back-end half, for Python. It is a feature of its own, which a phone's library leaves out.
//!
//! Asynchronous work runs on the library's threads and continues if the caller stops waiting for it. Otherwise the effect of a
//! send that was cancelled half-way would be unknown.

mod channel;
mod config;
mod error;
mod history;
mod message;
mod server;
mod service;
mod user;

use std::{
    future::Future,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use im_sdk::backend as sdk;

pub use self::{
    config::BackendConfig,
    error::BackendError,
    history::{
        BackendConversation, BackendConversationPage, FoundLoggedPage, LoggedMessage, LoggedPage, UnreadTotal,
    },
    message::{
        AckOutcome, AckReport, BroadcastReceipt, ChannelReceipt, Delivery, DeviceAckState, DeviceState,
        Durability, InboxPlace, OutgoingMessage, Priority, Receipt, Target, UserDevice,
    },
    server::{EmbeddedServer, EmbeddedServerConfig, connect_backend, random_secret, start_embedded_server},
    service::{
        Call, CallReply, Decision, IncomingCall, LogPlace, ReachKind, RequestKind, Service, ServiceCalls,
    },
    user::{BackendHealth, OnlineDevice, ServerAddresses, TokenMinter},
};
use crate::{ChangeKind, runtime};

/// A back end, which sends messages to users and serves what their devices publish.
#[derive(Debug, uniffi::Object)]
pub struct Backend {
    /// `None` after shutdown, so that the services it uses can be opened again.
    im: Mutex<Option<sdk::Im>>,
}

impl Backend {
    fn new(im: sdk::Im) -> Arc<Self> {
        Arc::new(Self { im: Mutex::new(Some(im)) })
    }

    fn im(&self) -> Result<sdk::Im, BackendError> {
        self.im.lock().unwrap_or_else(PoisonError::into_inner).clone().ok_or_else(BackendError::ended)
    }
}

/// Runs a job on the library's threads.
async fn run<T: Send + 'static>(
    job: impl Future<Output = Result<T, BackendError>> + Send + 'static,
) -> Result<T, BackendError> {
    let task = runtime::handle()?.spawn(job);
    // An error means that the job has panicked, or that the threads have ended.
    task.await.unwrap_or_else(|error| Err(BackendError::of("ended", error, false)))
}

#[uniffi::export]
impl Backend {
    /// Sends a message.
    ///
    /// # Errors
    /// [`BackendError`], here and below.
    pub async fn send(&self, message: OutgoingMessage) -> Result<Arc<Receipt>, BackendError> {
        let (im, message) = (self.im()?, message.parse()?);
        run(async move { Ok(Receipt::new(im.send(message).await?)) }).await
    }

    /// Sends many messages, a limited number at a time, each independent of the others. The receipts are in the order of
    /// the messages. `errors` names each message that could not be sent by its index.
    pub async fn send_many(&self, messages: Vec<OutgoingMessage>) -> Result<SentMany, BackendError> {
        let im = self.im()?;
        run(async move { Ok(send_many(&im, messages).await) }).await
    }

    /// Sends a message to all connected devices.
    pub async fn broadcast(&self, message: OutgoingMessage) -> Result<BroadcastReceipt, BackendError> {
        let (im, message) = (self.im()?, message.parse()?);
        run(async move { Ok(im.broadcast(message).await?.into()) }).await
    }

    /// Waits until the devices of a message's recipients have acknowledged it.
    pub async fn wait_acked(&self, receipt: Arc<Receipt>, within_ms: u64) -> Result<AckReport, BackendError> {
        let im = self.im()?;
        let within = Duration::from_millis(within_ms);
        run(async move { Ok(im.wait_acked(&receipt.inner, within).await?.into()) }).await
    }

    /// Changes a message, whoever sent it.
    pub async fn change(
        &self,
        target: Target,
        message_id: u64,
        kind: ChangeKind,
    ) -> Result<Arc<Receipt>, BackendError> {
        let im = self.im()?;
        let change = im_sdk::content::Change::new(crate::content::message_id(message_id)?, kind.parse()?);
        run(async move { Ok(Receipt::new(im.change(target, change).await?)) }).await
    }

    /// Recalls a message by its id, which is looked up in the message store.
    pub async fn recall(&self, message_id: u64) -> Result<Arc<Receipt>, BackendError> {
        let (im, id) = (self.im()?, crate::content::message_id(message_id)?);
        run(async move { Ok(Receipt::new(im.recall(id).await?)) }).await
    }

    /// Shuts the back end down.
    pub async fn shutdown(&self) {
        let im = self.im.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(im) = im else { return };
        let ended = run(async move {
            im.shutdown().await;
            Ok(())
        });
        // An error means that the threads have ended already.
        drop(ended.await);
    }
}

/// The results of many sends.
#[derive(Clone, Debug, uniffi::Record)]
pub struct SentMany {
    /// The ids of the messages, in order; 0 for a message that could not be sent.
    pub message_ids: Vec<u64>,
    /// The errors of messages that could not be sent.
    pub errors: Vec<SendFailed>,
}

/// The error of one of many messages.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct SendFailed {
    /// The index of the message, from 0.
    pub index: u32,
    /// A name that is stable across versions and languages.
    pub code: String,
    /// The reason, in a human-readable form.
    pub reason: String,
    /// Set if a retry may succeed and cannot make the message arrive twice.
    pub retryable: bool,
}

async fn send_many(im: &sdk::Im, messages: Vec<OutgoingMessage>) -> SentMany {
    let places = Arc::new(tokio::sync::Semaphore::new(CONCURRENT_SENDS));
    let mut sends = Vec::with_capacity(messages.len());
    for message in messages {
        let (im, places) = (im.clone(), places.clone());
        // The semaphore is never closed.
        let place = places.acquire_owned().await.ok();
        sends.push(tokio::spawn(async move {
            let sent = match message.parse() {
                Ok(message) => im.send(message).await.map_err(BackendError::from),
                Err(error) => Err(error),
            };
            drop(place);
            sent
        }));
    }
    let mut sent = SentMany { message_ids: Vec::with_capacity(sends.len()), errors: Vec::new() };
    for (index, send) in (0..).zip(sends) {
        let outcome = send.await.unwrap_or_else(|_| Err(BackendError::ended()));
        sent.message_ids.push(outcome.as_ref().map_or(0, |receipt| receipt.message_id.as_u64()));
        if let Err(BackendError::Failed { code, reason, retryable }) = outcome {
            sent.errors.push(SendFailed { index, code, reason, retryable });
        }
    }
    sent
}

/// The number of concurrent sends of one call: enough to fill a pipeline, and few enough that other work need not wait long.
const CONCURRENT_SENDS: usize = 128;
