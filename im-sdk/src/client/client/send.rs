//! Sends and their outcomes.

use std::{fmt, future::IntoFuture, time::Duration};

use futures_util::{FutureExt as _, future::BoxFuture};
use tokio::sync::{mpsc, oneshot};

use super::Client;
use crate::{
    Recipient,
    client::{
        LocalId, PublishError, Published, RetryError, SendError, SendState,
        core::Unsettled,
        driver::{Command, OutcomeReceiver, TrackedSend},
    },
    content::Content,
};

impl Client {
    /// Sends a message to a user or a channel.
    ///
    /// Awaiting the request returns a [`SendHandle`] as soon as the [store](crate::client::ClientConfig::store) has the message, which
    /// needs no network. From then on the client sends it until it is answered, over any number of connections, and of processes
    /// if the store outlives them. It has one effect. [`Event::Published`](crate::client::Event::Published) or
    /// [`Event::PublishFailed`](crate::client::Event::PublishFailed) reports the outcome, and so does the handle. Dropping the handle
    /// does not cancel the send.
    ///
    /// A program that only needs the outcome uses [`SendRequest::outcome`].
    ///
    /// Messages to one user or channel arrive in the order in which they were sent. Mentions, quotes and threads belong to the
    /// [`Content`].
    ///
    /// ```no_run
    /// # async fn example(client: im_sdk::client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// use im_sdk::{Recipient, content::Content, id::UserId};
    ///
    /// // A person writes: the message waits for a network, if need be.
    /// let sent = client.send(Recipient::user("bob")?, "lunch?").await?;
    /// println!("pending: {}", sent.local_id());
    ///
    /// // A program asks and wants the answer.
    /// let published = client.send(Recipient::user("bot")?, "/time").outcome().await?;
    /// println!("{:?}", published.answer);
    ///
    /// // With a mention, to a group.
    /// let content = Content::text("@bob: lunch?").mention(UserId::parse("bob")?);
    /// client.send(Recipient::channel("team")?, content).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Awaiting the request returns a [`SendError`] if the message was not taken. Nothing will be sent then.
    #[doc(alias = "publish")]
    pub fn send(&self, to: impl Into<Recipient>, content: impl Into<Content>) -> SendRequest {
        SendRequest { commands: self.commands.clone(), to: to.into(), content: content.into(), within: None }
    }

    /// Lists the unsettled sends of this process and earlier ones, in order: those that wait, and those that failed and
    /// were not [discarded](SendHandle::discard). Sends whose [outcome](SendRequest::outcome) a caller waits for are not
    /// included.
    ///
    /// ```no_run
    /// # async fn example(client: im_sdk::client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// use im_sdk::client::SendState;
    ///
    /// // After a restart: show what is pending, and try what has failed once more.
    /// for send in client.unsettled_sends().await {
    ///     println!("{}: {} ({})", send.to, send.content.summary(), send.state.as_str());
    ///     if send.state == SendState::Failed {
    ///         send.handle.retry().await?;
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "queued")]
    #[doc(alias = "outbox")]
    pub async fn unsettled_sends(&self) -> Vec<UnsettledSend> {
        let (list, answer) = oneshot::channel();
        let tracked = match self.commands.send(Command::ListSends(list)).await {
            Ok(()) => answer.await.unwrap_or_default(),
            Err(_) => Vec::new(),
        };
        tracked.into_iter().map(|(send, tracked)| self.unsettled(send, tracked)).collect()
    }

    fn unsettled(&self, send: Unsettled, tracked: TrackedSend) -> UnsettledSend {
        let Unsettled { to, content, state, error, .. } = send;
        UnsettledSend { handle: SendHandle::new(self.commands.clone(), tracked), to, content, state, error }
    }
}

/// A message to send, made by [`Client::send`]. Nothing is sent until the request is awaited, which returns a
/// [`SendHandle`], or [`SendRequest::outcome`] is.
#[derive(Debug)]
#[must_use = "nothing is sent until it is awaited"]
pub struct SendRequest {
    commands: mpsc::Sender<Command>,
    to: Recipient,
    content: Content,
    within: Option<Duration>,
}

impl SendRequest {
    /// Limits the time, including the wait for a connection. After that the send fails with [`PublishError::TimedOut`] if it
    /// certainly had no effect, and with [`PublishError::Unconfirmed`] otherwise. The limit holds for this process: if the
    /// process ends earlier, the next one sends the message until it is answered.
    ///
    /// ```no_run
    /// # async fn example(client: im_sdk::client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// use std::time::Duration;
    ///
    /// use im_sdk::Recipient;
    ///
    /// let bot = Recipient::user("bot")?;
    /// let answer = client.send(bot, "/time").within(Duration::from_secs(3)).outcome().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn within(self, limit: Duration) -> Self {
        Self { within: Some(limit), ..self }
    }

    /// Sends the message and waits for the outcome, for [`ClientConfig::publish_timeout`](crate::client::ClientConfig::publish_timeout)
    /// unless [`within`](SendRequest::within) sets another time.
    ///
    /// Only this call returns the outcome: no event follows, and a failed message is not kept. Even so, the message is saved
    /// first. If the process ends before the outcome, the next one sends it, and reports the outcome by an event. Dropping the
    /// future does not cancel the send.
    ///
    /// Meanwhile the application has to keep taking [events](Client::next_events), see [`Client`].
    ///
    /// # Errors
    /// [`PublishError`], which tells whether anything was sent.
    pub async fn outcome(self) -> Result<Published, PublishError> {
        let Self { commands, to, content, within } = self;
        let (outcome, answer) = oneshot::channel();
        let command = Command::Publish { to, content, within, outcome };
        commands.send(command).await.map_err(|_| PublishError::Closed)?;
        answer.await.unwrap_or_else(|_| {
            Err(PublishError::Unconfirmed { reason: "the runtime was shut down under the client".to_owned() })
        })
    }

    async fn send(self) -> Result<SendHandle, SendError> {
        let Self { commands, to, content, within } = self;
        let (taken, answer) = oneshot::channel();
        let command = Command::Send { to, content, within, taken };
        commands.send(command).await.map_err(|_| SendError::Closed)?;
        // The driver answers every command that it has received, unless the runtime was shut down under it.
        let tracked = answer.await.unwrap_or(Err(SendError::Closed))?;
        Ok(SendHandle::new(commands, tracked))
    }
}

impl IntoFuture for SendRequest {
    type Output = Result<SendHandle, SendError>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        self.send().boxed()
    }
}

/// A message that the client has taken, and its outcome.
///
/// Clones refer to the same send. A handle does not keep the connection alive: the [`Client`]s do. Dropping it does not
/// cancel the send.
#[derive(Clone)]
pub struct SendHandle {
    local_id: LocalId,
    commands: mpsc::Sender<Command>,
    outcome: OutcomeReceiver,
}

impl SendHandle {
    pub(super) fn new(commands: mpsc::Sender<Command>, tracked: TrackedSend) -> Self {
        Self { local_id: tracked.local_id, commands, outcome: tracked.outcome }
    }

    /// Returns the id of the send on this device. [`Event::Published`](crate::client::Event::Published) and
    /// [`Event::PublishFailed`](crate::client::Event::PublishFailed) carry it.
    pub fn local_id(&self) -> LocalId {
        self.local_id
    }

    /// Waits for the outcome, without a time limit. [`Client::shutdown`] ends the wait.
    ///
    /// ```no_run
    /// # async fn example(client: im_sdk::client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// use im_sdk::Recipient;
    ///
    /// let sent = client.send(Recipient::user("bob")?, "lunch?").await?;
    /// match sent.outcome().await {
    ///     Ok(published) => println!("it is message {:?}", published.message_id),
    ///     Err(error) if error.is_retryable() => _ = sent.retry().await?,
    ///     Err(error) => println!("not sent: {error}"),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`PublishError`], which tells whether anything was sent.
    pub async fn outcome(&self) -> Result<Published, PublishError> {
        let mut outcome = self.outcome.clone();
        match outcome.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(outcome)) => outcome.clone(),
            _ => Err(PublishError::Unconfirmed {
                reason: "the client was closed first, and goes on with it when its store is opened again"
                    .into(),
            }),
        }
    }

    /// Forgets the send if it has failed, or was never handed to a connection. Returns `false` if it may be on its way, or is
    /// settled.
    ///
    /// ```no_run
    /// # async fn example(sent: im_sdk::client::SendHandle) {
    /// if !sent.discard().await {
    ///     println!("too late: recall the message instead");
    /// }
    /// # }
    /// ```
    pub async fn discard(&self) -> bool {
        let (done, answer) = oneshot::channel();
        let asked = self.commands.send(Command::Discard(self.local_id, done)).await;
        asked.is_ok() && answer.await.unwrap_or(false)
    }

    /// Sends a failed message again, under a new id. The failed send is forgotten in the same batch that saves the new
    /// one.
    ///
    /// The message certainly does not arrive twice only if the error [is retryable](PublishError::is_retryable).
    ///
    /// ```no_run
    /// # async fn example(sent: im_sdk::client::SendHandle) -> Result<(), im_sdk::client::RetryError> {
    /// let again = sent.retry().await?;
    /// println!("send {} goes on as {}", sent.local_id(), again.local_id());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`RetryError`]: nothing is sent, and a failed send is kept.
    #[doc(alias = "resend")]
    pub async fn retry(&self) -> Result<Self, RetryError> {
        let (accepted, answer) = oneshot::channel();
        let command = Command::Retry(self.local_id, accepted);
        self.commands.send(command).await.map_err(|_| SendError::Closed)?;
        let taken = answer.await.map_err(|_| SendError::Closed)?.ok_or(RetryError::NotFailed)?;
        let tracked = taken.await.unwrap_or(Err(SendError::Closed))?;
        Ok(Self::new(self.commands.clone(), tracked))
    }
}

impl IntoFuture for SendHandle {
    type Output = Result<Published, PublishError>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    /// Waits for the [outcome](SendHandle::outcome).
    fn into_future(self) -> Self::IntoFuture {
        async move { self.outcome().await }.boxed()
    }
}

impl PartialEq for SendHandle {
    /// Compares the sends.
    fn eq(&self, other: &Self) -> bool {
        self.local_id == other.local_id && self.commands.same_channel(&other.commands)
    }
}

impl Eq for SendHandle {}

impl fmt::Debug for SendHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendHandle").field("local_id", &self.local_id).finish_non_exhaustive()
    }
}

/// An unsettled send.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct UnsettledSend {
    /// The handle, to wait for the outcome, discard the send or retry it.
    pub handle: SendHandle,
    /// The receiver.
    pub to: Recipient,
    /// The content.
    pub content: Content,
    /// The progress of the send.
    pub state: SendState,
    /// The error, if the send has failed.
    pub error: Option<PublishError>,
}

impl UnsettledSend {
    /// Returns the id of the send on this device.
    pub fn local_id(&self) -> LocalId {
        self.handle.local_id()
    }
}
