//! Sends and their outcomes.

use std::sync::Arc;

use im_sdk::client as sdk;

use crate::{Content, PublishError, Recipient, RefusalKind, SendError};

/// A message that the client has accepted, and its outcome. Dropping the handle does not cancel the send.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Object)]
pub struct SendHandle {
    inner: sdk::SendHandle,
}

impl SendHandle {
    pub(crate) fn new(inner: sdk::SendHandle) -> Arc<Self> {
        Arc::new(Self { inner })
    }
}

#[uniffi::export]
impl SendHandle {
    /// Returns the id of the send on this device. `Published` and `PublishFailed` carry it.
    pub fn local_id(&self) -> u64 {
        self.inner.local_id().as_u64()
    }

    /// Waits for the outcome without a time limit. `Client::shutdown` ends the wait.
    ///
    /// # Errors
    /// [`PublishError`], which says whether anything was sent.
    pub async fn outcome(&self) -> Result<Published, PublishError> {
        Ok(self.inner.outcome().await?.into())
    }

    /// Forgets the send if it has failed, or was never handed to a connection. Returns `false` if it may have been sent, or
    /// is settled.
    pub async fn discard(&self) -> bool {
        self.inner.discard().await
    }

    /// Sends a failed message again, under a new id, and forgets the failed send.
    ///
    /// # Errors
    /// [`SendError`]: the message is not sent, and the failed send stays.
    pub async fn retry(&self) -> Result<Arc<Self>, SendError> {
        Ok(Self::new(self.inner.retry().await?))
    }
}

/// A send that is not settled.
#[derive(Clone, Debug, uniffi::Record)]
pub struct UnsettledSend {
    /// Its handle, to wait for its outcome, discard it or retry it.
    pub handle: Arc<SendHandle>,
    /// The recipient.
    pub to: Recipient,
    /// The content.
    pub content: Content,
    /// The state of the send.
    pub state: SendState,
    /// The failure, if it has failed.
    pub failure: Option<SendFailure>,
}

/// The failure of a send for good.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct SendFailure {
    /// The stable name of the error, such as `refused`.
    pub code: String,
    /// The reason, in a human-readable form.
    pub reason: String,
    /// The kind of the refusal, if it was refused.
    pub kind: Option<RefusalKind>,
    /// For a `Rule`: the application's own code, 0 or more, or a negative one of the SDK. Otherwise 0.
    pub rule_code: i32,
    /// Set if a retry may succeed and cannot make the message arrive twice.
    pub retryable: bool,
}

impl From<&sdk::PublishError> for SendFailure {
    fn from(error: &sdk::PublishError) -> Self {
        let (kind, rule_code) = match error {
            sdk::PublishError::Refused { kind, code, .. } => (Some((*kind).into()), *code),
            _ => (None, 0),
        };
        let (code, reason) = (error.code().to_owned(), error.to_string());
        Self { code, reason, kind, rule_code, retryable: error.is_retryable() }
    }
}

/// The back end's answer to a message that it has accepted.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct Published {
    /// The id of the message. None: the back end handled it without sending a message.
    pub message_id: Option<u64>,
    /// The application's own answer, often empty.
    pub answer: Vec<u8>,
}

impl From<sdk::Published> for Published {
    fn from(published: sdk::Published) -> Self {
        let message_id = published.message_id.map(|id| id.as_u64());
        Self { message_id, answer: published.answer.into() }
    }
}

/// The state of a send.
#[derive(Clone, Copy, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum SendState {
    /// It waits for a connection, or for an earlier send to the same recipient.
    Pending,
    /// It was handed to a connection, and is not answered yet.
    Sent,
    /// It failed for good.
    Failed,
}

impl From<sdk::UnsettledSend> for UnsettledSend {
    fn from(send: sdk::UnsettledSend) -> Self {
        Self {
            failure: send.error.as_ref().map(SendFailure::from),
            handle: SendHandle::new(send.handle),
            to: send.to.into(),
            content: send.content.into(),
            state: match send.state {
                sdk::SendState::Sent => SendState::Sent,
                sdk::SendState::Failed => SendState::Failed,
                _ => SendState::Pending,
            },
        }
    }
}
