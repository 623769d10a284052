//! [`Im`]: the handle of a backend, one per process, shared by cloning. All logic is in the types
//! behind it.

mod builder;

use std::{collections::HashMap, sync::Arc, time::Duration};

use futures_util::Stream;
use tokio::time::timeout;

pub use self::builder::{ImBuilder, StartError};
use crate::{
    Conversation, ConversationChange, ConversationState, HistoryQuery, Recipient, Search, UserPresence,
    backend::{
        channels::{
            ChannelParts,
            channel::{Channel, ChannelError},
            room::Room,
        },
        conversations::{
            ConversationError, ConversationPage, Conversations, ListedConversation, UnreadTotal,
        },
        health::{Health, HealthCheck},
        history::{
            HistoryError, HistoryPage, HistoryReader, LoggedMessage,
            archiver::{Archiver, NoArchive},
            export::export,
            retention::{Cleaner, NoMessageStore, Retention},
            search::{FoundPage, MessageSearch, SearchError},
        },
        message_store::MessageStore,
        parse_ids::{parse_user, parse_users},
        presence::{KickError, OnlineDevice, OnlineDevices, PresenceError, ServerAddresses},
        send::{
            MessageSender,
            acks::{AckError, AckReport, AckTracker},
            broadcast::{BroadcastReceipt, Broadcaster},
            dispatch::Dispatcher,
            error::SendError,
            message::{Message, Target},
            receipt::Receipt,
        },
        service::{self, Handler, ServeError, Service, ServiceContext},
        tasks::Tasks,
    },
    cluster::{Cluster, ClusterConfig},
    content::Change,
    id::{ChannelId, Device, InvalidId, MessageId, UserId},
};

/// The handle of a backend. Clones are cheap and share everything.
///
/// The background tasks end with the last clone, or with the last [`Channel`], [`Room`] or [`Service`]
/// made from it.
#[derive(Clone, Debug)]
pub struct Im {
    pub(super) inner: Arc<Inner>,
}

/// The parts of a backend.
#[derive(Debug)]
pub(super) struct Inner {
    pub(super) cluster: Cluster,
    pub(super) dispatcher: Arc<Dispatcher>,
    pub(super) sender: Arc<MessageSender>,
    broadcaster: Broadcaster,
    pub(super) acks: AckTracker,
    devices: Arc<OnlineDevices>,
    message_store: Option<Arc<dyn MessageStore>>,
    pub(super) history: Arc<HistoryReader>,
    pub(super) search: Arc<MessageSearch>,
    pub(super) conversations: Arc<Conversations>,
    channels: Arc<ChannelParts>,
    health: Arc<HealthCheck>,
    pub(super) service: Arc<ServiceContext>,
    /// The archiver that [`ImBuilder::archive_to`] has started.
    archiver: Option<Archiver>,
    send_timeout: Duration,
    pub(super) tasks: Arc<Tasks>,
}

/// # Starting and ending
impl Im {
    /// Returns a builder for a backend with other settings than the defaults.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new()?.block_on(async {
    /// use im_sdk::{backend::Im, cluster::Cluster};
    ///
    /// let im = Im::builder().system_user("shop").start(Cluster::embedded()).await?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn builder() -> ImBuilder {
        ImBuilder::default()
    }

    /// Connects to Redis and NATS, with the default settings. [`Im::builder`] has others.
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// use im_sdk::{backend::Im, cluster::ClusterConfig};
    ///
    /// let im = Im::connect(ClusterConfig::new(["redis://127.0.0.1:6379"], ["nats://127.0.0.1:4222"])).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn connect(config: ClusterConfig) -> Result<Self, StartError> {
        Self::builder().connect(config).await
    }

    /// Starts on an existing cluster, such as [`Cluster::embedded`], with the default settings.
    /// [`Im::builder`] has others.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new()?.block_on(async {
    /// use im_sdk::{backend::Im, cluster::Cluster};
    ///
    /// let im = Im::with_cluster(Cluster::embedded()).await?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn with_cluster(cluster: Cluster) -> Result<Self, StartError> {
        Self::builder().start(cluster).await
    }

    /// Returns the cluster that the backend runs on.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new()?.block_on(async {
    /// use im_sdk::{backend::Im, cluster::Cluster};
    ///
    /// let im = Im::with_cluster(Cluster::embedded()).await?;
    /// let servers = im.cluster().routes().live_servers().await?;
    /// assert!(servers.is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn cluster(&self) -> &Cluster {
        &self.inner.cluster
    }

    /// Checks Redis and NATS, and lists the live servers and the serving backends. It is meant for a
    /// readiness probe, and for people who look for what is missing. It takes at most
    /// [`ImBuilder::send_timeout`].
    ///
    /// ```
    /// # tokio::runtime::Runtime::new()?.block_on(async {
    /// use im_sdk::{backend::Im, cluster::Cluster};
    ///
    /// let im = Im::with_cluster(Cluster::embedded()).await?;
    /// let health = im.health().await;
    /// assert!(health.is_ready() && health.servers.is_empty(), "{health:?}");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias("readiness", "liveness", "status"))]
    pub async fn health(&self) -> Health {
        self.inner.health.check().await
    }

    /// Gives the node number back and ends the tasks of this process, archivers after their current
    /// batch, within [`ImBuilder::send_timeout`]. Sends in progress end as unconfirmed.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new()?.block_on(async {
    /// use im_sdk::{backend::Im, cluster::Cluster};
    ///
    /// let im = Im::with_cluster(Cluster::embedded()).await?;
    /// im.shutdown().await;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub async fn shutdown(self) {
        let Inner { tasks, dispatcher, cluster, send_timeout, .. } = &*self.inner;
        tasks.stop().cancel();
        dispatcher.publisher().close();
        tasks.tracker().close();
        let ending = async {
            tasks.tracker().wait().await;
            cluster.bus().flush().await
        };
        // Without a connection to the bus, neither ends before the connection is back.
        let _ = timeout(*send_timeout, ending).await;
    }
}

/// # Sending
impl Im {
    /// Sends a message: logs it unless it is [`Durability::Transient`](super::Durability::Transient),
    /// pushes it to every connected device of its recipients and its sender, and returns which devices
    /// have it queued.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new()?.block_on(async {
    /// use im_sdk::{backend::{Im, Message, user}, cluster::Cluster};
    ///
    /// let im = Im::with_cluster(Cluster::embedded()).await?;
    /// let receipt = im.send(Message::to(user("bob")).from("alice").text("hi")).await?;
    /// assert_eq!(receipt.offline, ["bob".parse()?], "bob gets it when he connects");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`SendError`]. A message that is missing in one of its logs is an error, never `Ok`.
    pub async fn send(&self, message: Message) -> Result<Receipt, SendError> {
        self.inner.sender.send(message).await
    }

    /// Sends a message to everybody who is online now. The message is made by [`Message::new`]; one for
    /// another target is [`InvalidMessage::OtherTarget`](super::InvalidMessage::OtherTarget).
    ///
    /// A broadcast is [`Durability::Transient`](super::Durability::Transient): a device that is not
    /// connected, or connects during the broadcast, does not get it. Each server hands it to its
    /// connections at a rate of 200,000 in a second, and the receipt comes before that. With a
    /// [`Priority`](super::Priority) other than `DisconnectSlow`, slow devices may be left out later,
    /// which the receipt does not show.
    ///
    /// ```no_run
    /// # async fn example(im: im_sdk::backend::Im) -> Result<(), Box<dyn std::error::Error>> {
    /// use im_sdk::backend::Message;
    /// let receipt = im.broadcast(Message::new().text("maintenance begins in ten minutes")).await?;
    /// println!("{} devices", receipt.connections);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`SendError`].
    pub async fn broadcast(&self, message: Message) -> Result<BroadcastReceipt, SendError> {
        self.inner.broadcaster.broadcast(message).await
    }

    /// Changes a message, whoever sent it and however old it is: no policy applies. The change comes
    /// from the backend itself and goes to `target`, which must be the target of the message: a
    /// channel, a user, or both users of a conversation. With [`users`](super::users) of two it belongs
    /// to their conversation, as the message does.
    ///
    /// The message must exist: a change of a message that does not exist, is not kept any more, or
    /// belongs to another conversation is refused. Users who are not named keep seeing the former
    /// content, so name the sender as well.
    ///
    /// A change is a message like any other: [`Im::send`] takes it too, with a sender, an idempotency
    /// key or a durability.
    ///
    /// ```no_run
    /// # async fn example(im: im_sdk::backend::Im, id: im_sdk::id::MessageId) -> Result<(), Box<dyn std::error::Error>> {
    /// use im_sdk::{backend::{Message, channel, user, users}, content::Change};
    /// im.change(channel("team"), Change::recall(id)).await?;
    /// im.change(users(["alice", "bob"]), Change::edit(id, "(removed by the moderators)")).await?;
    /// // In the name of a user, and once for this key.
    /// let pin = Message::to(user("bob")).from("alice").content(Change::pin(id)).idempotency_key("pin-7");
    /// im.send(pin).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`SendError::NoSuchMessage`]; others as [`Im::send`].
    #[doc(alias("moderation", "recall", "delete message"))]
    pub async fn change(&self, target: impl Into<Target>, change: Change) -> Result<Receipt, SendError> {
        self.inner.sender.change(target.into(), change).await
    }

    /// Recalls a message in any conversation. It is found by its id in [`ImBuilder::message_store`],
    /// once an archiver has written it. For other messages use [`Im::change`], which takes the
    /// conversation.
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
    /// [`SendError::NoSuchMessage`] if it is not in the message store; others as [`Im::send`].
    pub async fn recall(&self, id: MessageId) -> Result<Receipt, SendError> {
        self.inner.sender.recall(id).await
    }

    /// Waits until all devices that were connected when a message was sent have acknowledged it, or the
    /// time is over. Returns at once if no device was connected. With [`Duration::ZERO`] it returns
    /// what is known already. Users who [could not be located](Receipt::unlocated) are located again,
    /// and then waited for as well.
    ///
    /// A device acknowledges a message however it got it: pushed, or by a sync over another connection
    /// to another server. A device that was not connected is not waited for, but its acknowledgement
    /// counts if it comes in time. Acknowledgements are claims of the devices.
    ///
    /// The receipt may come from any backend of the deployment: it is a plain value, which can be stored
    /// and sent on.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new()?.block_on(async {
    /// use std::time::Duration;
    /// use im_sdk::{backend::{AckOutcome, Im, Message, user}, cluster::Cluster};
    ///
    /// let im = Im::with_cluster(Cluster::embedded()).await?;
    /// let receipt = im.send(Message::to(user("bob")).from("alice").text("call me")).await?;
    /// let report = im.wait_acked(&receipt, Duration::from_secs(10)).await?;
    /// assert_eq!(report.outcome, AckOutcome::Offline, "no device of bob is connected: notify him otherwise");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`AckError`].
    pub async fn wait_acked(&self, receipt: &Receipt, within: Duration) -> Result<AckReport, AckError> {
        self.inner.acks.wait_acked(receipt, within).await
    }
}

/// # Channels and rooms
impl Im {
    /// Returns a channel. An invalid id is reported by the first method that needs it.
    ///
    /// ```no_run
    /// # async fn example(im: im_sdk::backend::Im) -> Result<(), Box<dyn std::error::Error>> {
    /// use im_sdk::backend::Message;
    /// let team = im.channel("team");
    /// team.add_members(["alice", "bob"]).await?;
    /// let receipt = team.send(Message::new().from("alice").text("hi")).await?;
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias("group", "create group"))]
    pub fn channel(&self, id: impl TryInto<ChannelId, Error = impl Into<InvalidId>>) -> Channel {
        Channel::new(Arc::clone(&self.inner.channels), id.try_into().map_err(Into::into))
    }

    /// Returns the channels that a user is a member of, in any order.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new()?.block_on(async {
    /// use im_sdk::{backend::Im, cluster::Cluster};
    ///
    /// let im = Im::with_cluster(Cluster::embedded()).await?;
    /// im.channel("team").add_members(["alice"]).await?;
    /// assert_eq!(im.channels("alice").await?, ["team".parse()?]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`ChannelError`].
    pub async fn channels(
        &self,
        user: impl TryInto<UserId, Error = impl Into<InvalidId>>,
    ) -> Result<Vec<ChannelId>, ChannelError> {
        Ok(self.inner.cluster.members().channels(&parse_user(user)?).await?)
    }

    /// Returns a room. An invalid id is reported by the first method that needs it.
    ///
    /// ```no_run
    /// # async fn example(im: im_sdk::backend::Im) -> Result<(), Box<dyn std::error::Error>> {
    /// use im_sdk::backend::{Message, Priority};
    /// let room = im.room("lobby");
    /// room.send(Message::new().from("alice").text("hello, everybody")).await?;
    /// // Slow devices may be left out; the receipt says how many.
    /// let receipt = room.send(Message::new().text("rose").priority(Priority::Low)).await?;
    /// println!("{} did not see it", receipt.shed());
    /// // Additions within 200 ms go out as one message.
    /// room.count("like", 1)?;
    /// println!("{} devices are in", room.online().await?);
    /// room.close("see you tomorrow").await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn room(&self, id: impl TryInto<ChannelId, Error = impl Into<InvalidId>>) -> Room {
        Room::new(Arc::clone(&self.inner.channels), id.try_into().map_err(Into::into))
    }
}

/// # Devices and servers
impl Im {
    /// Returns the connected devices of each of these users. Leaves out users who are offline.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new()?.block_on(async {
    /// use im_sdk::{backend::Im, cluster::Cluster};
    ///
    /// let im = Im::with_cluster(Cluster::embedded()).await?;
    /// let online = im.online(["alice", "bob"]).await?;
    /// assert!(online.is_empty(), "nobody is connected");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`PresenceError`] if the route store does not answer.
    pub async fn online<I>(
        &self,
        users: impl IntoIterator<Item = I>,
    ) -> Result<HashMap<UserId, Vec<OnlineDevice>>, PresenceError>
    where
        I: TryInto<UserId, Error: Into<InvalidId>>,
    {
        Ok(self.inner.devices.online(&parse_users(users)?).await?)
    }

    /// Returns where each of these users is online, and when they were last, in the given order.
    ///
    /// ```no_run
    /// # async fn example(im: im_sdk::backend::Im) -> Result<(), Box<dyn std::error::Error>> {
    /// for presence in im.presence(["alice", "bob"]).await? {
    ///     println!("{}: {}, last seen {:?}", presence.user, presence.is_online(), presence.last_seen());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`PresenceError`].
    pub async fn presence<I>(
        &self,
        users: impl IntoIterator<Item = I>,
    ) -> Result<Vec<UserPresence>, PresenceError>
    where
        I: TryInto<UserId, Error: Into<InvalidId>>,
    {
        self.inner.devices.presence(&parse_users(users)?).await
    }

    /// Stops a user's devices from watching another user, for example when two are friends no more. The
    /// devices see no further changes of the other's presence, and are not told.
    ///
    /// A device that asks again is answered by [`Handler::may_watch`]. So is, within some minutes, a
    /// device that this call does not reach.
    ///
    /// ```no_run
    /// # async fn example(im: im_sdk::backend::Im) -> Result<(), Box<dyn std::error::Error>> {
    /// im.unwatch("alice", "bob").await?;
    /// im.unwatch("bob", "alice").await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`PresenceError`]. The call may be repeated.
    pub async fn unwatch(
        &self,
        watcher: impl TryInto<UserId, Error = impl Into<InvalidId>>,
        user: impl TryInto<UserId, Error = impl Into<InvalidId>>,
    ) -> Result<(), PresenceError> {
        self.inner.devices.unwatch(&parse_user(watcher)?, &parse_user(user)?).await
    }

    /// Closes the connections of a user's device, or with `None` of all the user's devices. The devices
    /// get the close code `kicked` and the reason (its first 123 bytes), and do not reconnect. Returns
    /// the number of closed connections.
    ///
    /// A kick does not keep anybody out: refuse a new token for that.
    ///
    /// ```no_run
    /// # async fn example(im: im_sdk::backend::Im) -> Result<(), Box<dyn std::error::Error>> {
    /// let closed = im.kick("eve", None, "your account is suspended").await?;
    /// println!("{closed} connections closed");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`KickError`] if it is unknown whether the connections are closed. The call may be repeated.
    #[doc(alias("logout", "log out", "ban", "disconnect", "revoke"))]
    pub async fn kick(
        &self,
        user: impl TryInto<UserId, Error = impl Into<InvalidId>>,
        device: Option<&Device>,
        reason: &str,
    ) -> Result<usize, KickError> {
        self.inner.devices.kick(&parse_user(user)?, device, reason).await
    }

    /// Returns the live servers that take new devices, least loaded first. Hand the addresses to devices
    /// in this order.
    ///
    /// The answer is from memory. The list of servers is at most [`ImBuilder::directory_refresh`] old
    /// while the route store answers, and as old as its last answer otherwise. The numbers of
    /// connections are up to a third of a server's lease older. A server that is about to stop leaves
    /// the list at once; one that has died stays until its lease is over.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new()?.block_on(async {
    /// use im_sdk::{backend::Im, cluster::Cluster};
    ///
    /// let im = Im::with_cluster(Cluster::embedded()).await?;
    /// let addresses: Vec<String> = im.endpoints().into_iter().flat_map(|server| server.addresses).collect();
    /// assert!(addresses.is_empty(), "no server is running");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn endpoints(&self) -> Vec<ServerAddresses> {
        self.inner.devices.endpoints()
    }

    /// Serves this backend's share of what devices publish and request, until the service is dropped or
    /// shut down. Any number of backends may serve; each publish goes to one of them.
    ///
    /// If the bus is out of reach, serving starts when it is back. The call waits for that up to
    /// [`ImBuilder::send_timeout`].
    ///
    /// ```
    /// # tokio::runtime::Runtime::new()?.block_on(async {
    /// use im_sdk::{backend::{Im, Incoming}, cluster::Cluster};
    ///
    /// let im = Im::with_cluster(Cluster::embedded()).await?;
    /// let service = im.serve(|incoming: Incoming| async move { Ok(incoming.accept()) }).await?;
    /// service.shutdown().await;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`ServeError`] if the bus does not take the subscription.
    pub async fn serve<H: Handler>(&self, handler: H) -> Result<Service, ServeError> {
        service::serve(&self.inner.service, handler).await
    }
}

/// # History
impl Im {
    /// Returns a page of the messages of a conversation as the user sees them now. Recalled messages are
    /// empty, edited ones have their last content ([`Content::amended`](crate::content::Content::amended) marks
    /// both), and those that the user has deleted are missing. Reactions and pins are in
    /// [`HistoryPage::changes`]. [`Im::raw_history`] returns the entries themselves.
    ///
    /// History continues in [`ImBuilder::message_store`] where the log does not reach back any more.
    /// `limit` is between 1 and [`MAX_HISTORY_PAGE`](super::MAX_HISTORY_PAGE). Entries that share a seq
    /// are never split over pages, so a page may be a little shorter or longer. A page ends early at
    /// [`MAX_HISTORY_BYTES`](super::MAX_HISTORY_BYTES), and after a scan of
    /// [`MAX_HISTORY_SCAN`](super::MAX_HISTORY_SCAN) entries or
    /// [`MAX_HISTORY_SCAN_BYTES`](super::MAX_HISTORY_SCAN_BYTES).
    ///
    /// The query is a [`HistoryRange`](crate::HistoryRange), or a [`HistoryQuery`] for some kinds, for
    /// some time, or around a message. Messages before the point up to which the user has deleted a
    /// conversation are left out, except with [`Conversation::Inbox`].
    ///
    /// Membership of the channel is not checked: check it before answering a user.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new()?.block_on(async {
    /// use im_sdk::{
    ///     Conversation, HistoryQuery, Kind,
    ///     backend::{Im, Message, user},
    ///     cluster::Cluster,
    ///     content::Content,
    ///     id::UserId,
    /// };
    ///
    /// let im = Im::with_cluster(Cluster::embedded()).await?;
    /// im.send(Message::to(user("bob")).from("alice").text("paid?")).await?;
    /// im.send(Message::to(user("bob")).from("alice").content(Content::custom("order.paid", "7"))).await?;
    ///
    /// let (bob, alice) = (UserId::parse("bob")?, Conversation::User(UserId::parse("alice")?));
    /// let mut query = HistoryQuery::newest().kinds([Kind::custom("order.paid")]);
    /// let mut payments = Vec::new();
    /// loop {
    ///     let page = im.history(&bob, &alice, query.clone(), 50).await?;
    ///     payments.splice(0..0, page.messages);
    ///     let Some(next) = page.next else { break };
    ///     query = query.range(next);
    /// }
    /// assert_eq!(payments.len(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`HistoryError`].
    pub async fn history(
        &self,
        user: impl TryInto<UserId, Error = impl Into<InvalidId>>,
        conversation: impl Into<Conversation>,
        query: impl Into<HistoryQuery>,
        limit: usize,
    ) -> Result<HistoryPage, HistoryError> {
        self.inner.history.page(&parse_user(user)?, &conversation.into(), &query.into(), limit).await
    }

    /// Returns a page of entries as they are in the log: messages, and changes where they were made.
    /// [`Im::history`] returns them put together. It is meant for code that does that itself, or that
    /// copies a log. Recalled and edited content is removed here too.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new()?.block_on(async {
    /// use im_sdk::{HistoryRange, Conversation, backend::{Im, Message, user}, cluster::Cluster, content::Change};
    ///
    /// let im = Im::with_cluster(Cluster::embedded()).await?;
    /// let id = im.send(Message::to(user("bob")).from("alice").text("hi")).await?.message_id;
    /// im.send(Message::to(user("alice")).from("bob").content(Change::react(id, "👋"))).await?;
    /// let page = im.raw_history("bob", Conversation::Inbox, HistoryRange::After(0), 100).await?;
    /// assert_eq!(page.messages.len(), 2, "the message and the reaction");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`HistoryError`].
    pub async fn raw_history(
        &self,
        user: impl TryInto<UserId, Error = impl Into<InvalidId>>,
        conversation: impl Into<Conversation>,
        query: impl Into<HistoryQuery>,
        limit: usize,
    ) -> Result<HistoryPage, HistoryError> {
        self.inner.history.raw_page(&parse_user(user)?, &conversation.into(), &query.into(), limit).await
    }

    /// Returns a message by its id, as it is now, from any conversation. It is read from
    /// [`ImBuilder::message_store`], once an archiver has written it. Its seq is the one in one of its
    /// logs.
    ///
    /// ```no_run
    /// # async fn example(im: im_sdk::backend::Im, reported: im_sdk::id::MessageId) -> Result<(), Box<dyn std::error::Error>> {
    /// let message = im.message(reported).await?;
    /// println!("{:?} wrote {:?}", message.from, message.content.as_text());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`HistoryError::NotStored`] if it is not there. For a message that is in a log alone use
    /// [`Im::message_in`].
    pub async fn message(&self, id: MessageId) -> Result<LoggedMessage, HistoryError> {
        self.inner.history.message(id).await
    }

    /// Returns a message of a user's conversation by its id, as it is now.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new()?.block_on(async {
    /// use im_sdk::{backend::{Im, Message, user}, cluster::Cluster, id::UserId};
    ///
    /// let im = Im::with_cluster(Cluster::embedded()).await?;
    /// let id = im.send(Message::to(user("bob")).from("alice").text("hi")).await?.message_id;
    /// let message = im.message_in("bob", UserId::parse("alice")?, id).await?;
    /// assert_eq!(message.content.as_text(), Some("hi"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`HistoryError::NoSuchMessage`] if it is not there, or not any more.
    pub async fn message_in(
        &self,
        user: impl TryInto<UserId, Error = impl Into<InvalidId>>,
        conversation: impl Into<Recipient>,
        id: MessageId,
    ) -> Result<LoggedMessage, HistoryError> {
        self.inner.history.message_in(&parse_user(user)?, &conversation.into(), id).await
    }

    /// Searches messages that a user may see: the inbox and the channels that the user is a member of
    /// now. It searches [`ImBuilder::message_store`], so archived messages that an archiver has written.
    /// `limit` is between 1 and [`MAX_SEARCH_PAGE`](super::MAX_SEARCH_PAGE). Messages that the user has
    /// deleted are not found; those of a conversation that was deleted as a whole are found only in a
    /// search of [`Conversation::Inbox`].
    ///
    /// Membership is not checked if the search names a channel: check it before answering a user.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new()?.block_on(async {
    /// use std::sync::Arc;
    ///
    /// use im_sdk::{
    ///     Search,
    ///     backend::{Durability, Im, Message, message_store::MemoryMessageStore, user},
    ///     cluster::Cluster,
    ///     id::UserId,
    /// };
    ///
    /// let store = Arc::new(MemoryMessageStore::new());
    /// let config = Im::builder().message_store(store.clone());
    /// let im = config.start(Cluster::embedded()).await?;
    /// let archiver = im.start_archiver(store)?;
    /// let lunch = Message::to(user("bob")).from("alice").text("Lunch tomorrow? 午饭");
    /// im.send(lunch.durability(Durability::Archived)).await?;
    /// while archiver.written() < 2 {
    ///     tokio::task::yield_now().await;
    /// }
    ///
    /// let bob = UserId::parse("bob")?;
    /// let page = im.search(&bob, &Search::new("tomorrow 午"), 20).await?;
    /// assert_eq!(page.messages[0].content.as_text(), Some("Lunch tomorrow? 午饭"));
    /// assert_eq!(page.next, None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`SearchError`].
    pub async fn search(
        &self,
        user: impl TryInto<UserId, Error = impl Into<InvalidId>>,
        search: &Search,
        limit: usize,
    ) -> Result<FoundPage, SearchError> {
        self.inner.search.search(&parse_user(user)?, search, limit).await
    }

    /// Exports the messages of a conversation as the user sees them now, without reactions and pins,
    /// oldest first. Begins with the entries of [`ImBuilder::message_store`] and goes on with those that
    /// are in the log alone, each entry once. A page is in memory at a time, and messages that are sent
    /// meanwhile are included. The stream ends after an error; a new one begins from the start.
    ///
    /// Each line ends in a line feed, and is a JSON object:
    ///
    /// | name | |
    /// | --- | --- |
    /// | `time` | the time of sending, by the id: `2026-01-01T00:00:00.000Z` |
    /// | `id` | the message id, as text |
    /// | `seq` | the seq in the log |
    /// | `from` | the sender; missing: the backend |
    /// | `to` | the recipient; missing: several, or a channel |
    /// | `channel` | the channel; missing: it is in the inbox |
    /// | `kind` | a [`Kind`](crate::Kind) as text, such as `text` or `custom:order.paid`; missing: it has no content |
    /// | `content` | of a text `{"text": ".."}`; of an application's kind `{"data": ".."}`, its bytes in base64; of others `{"encoded": ".."}`, the encoded `im.v1.Content` in base64 |
    ///
    /// ```
    /// # tokio::runtime::Runtime::new()?.block_on(async {
    /// use futures_util::TryStreamExt as _;
    /// use im_sdk::{
    ///     Conversation,
    ///     backend::{Im, Message, user},
    ///     cluster::Cluster,
    ///     id::UserId,
    /// };
    ///
    /// let im = Im::with_cluster(Cluster::embedded()).await?;
    /// im.send(Message::to(user("bob")).from("alice").text("hi")).await?;
    /// let bob = UserId::parse("bob")?;
    /// let mut lines = std::pin::pin!(im.export(&bob, &Conversation::Inbox));
    /// while let Some(line) = lines.try_next().await? {
    ///     assert!(line.contains(r#""content":{"text":"hi"}"#));
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`HistoryError`].
    pub fn export(
        &self,
        user: &UserId,
        conversation: &Conversation,
    ) -> impl Stream<Item = Result<String, HistoryError>> + Send + use<> {
        export(Arc::clone(&self.inner.history), user.clone(), conversation.clone())
    }

    /// Returns a cleaner that deletes messages older than the rules allow from
    /// [`ImBuilder::message_store`]. Any backend may run one, and several may run at once: deleting again
    /// has no effect.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new()?.block_on(async {
    /// use std::{sync::Arc, time::Duration};
    ///
    /// use im_sdk::{
    ///     backend::{Im, Retention, message_store::MemoryMessageStore},
    ///     cluster::Cluster,
    /// };
    ///
    /// let config = Im::builder().message_store(Arc::new(MemoryMessageStore::new()));
    /// let im = config.start(Cluster::embedded()).await?;
    /// let rules = Retention::new().channels_with_prefix("room:", Duration::from_secs(24 * 60 * 60));
    /// let cleaner = im.retention(rules)?.start(Duration::from_secs(60 * 60));
    /// cleaner.shutdown().await;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`NoMessageStore`].
    pub fn retention(&self, rules: Retention) -> Result<Cleaner, NoMessageStore> {
        let store = self.inner.message_store.clone().ok_or(NoMessageStore)?;
        let stop = self.inner.tasks.stop().child_token();
        Ok(Cleaner::new(store, rules, self.inner.cluster.clock().clone(), stop))
    }

    /// Starts an archiver, which writes messages of the cluster's archive into a message store. Any
    /// number of archivers may run, in any of the backends: they share the work.
    /// [`ImBuilder::archive_to`] does this together with the rest that archiving needs.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new()?.block_on(async {
    /// use std::sync::Arc;
    ///
    /// use im_sdk::{
    ///     backend::{Durability, Im, Message, message_store::MemoryMessageStore, user},
    ///     cluster::Cluster,
    /// };
    ///
    /// let im = Im::with_cluster(Cluster::embedded()).await?;
    /// let archiver = im.start_archiver(Arc::new(MemoryMessageStore::new()))?;
    /// im.send(Message::to(user("bob")).text("hi").durability(Durability::Archived)).await?;
    /// archiver.shutdown().await;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`NoArchive`].
    pub fn start_archiver(&self, store: Arc<dyn MessageStore>) -> Result<Archiver, NoArchive> {
        let tasks = &self.inner.tasks;
        Archiver::start(&self.inner.cluster, store, tasks.tracker(), tasks.stop())
    }

    /// Returns the archiver that [`ImBuilder::archive_to`] has started.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new()?.block_on(async {
    /// use std::sync::Arc;
    /// use im_sdk::{backend::{Im, message_store::MemoryMessageStore}, cluster::Cluster};
    ///
    /// let store = Arc::new(MemoryMessageStore::new());
    /// let im = Im::builder().archive_to(store).start(Cluster::embedded()).await?;
    /// assert!(im.archiver().is_some_and(|archiver| archiver.stall().is_none()));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn archiver(&self) -> Option<&Archiver> {
        self.inner.archiver.as_ref()
    }
}

/// # Conversations
impl Im {
    /// Returns a page of a user's conversations, from `skip` on: those that the user's inbox or states
    /// know of, and all channels of the user. The list is put together from the logs for each call.
    ///
    /// Counts and last messages reflect changes: recalled messages, and those that the user has deleted,
    /// are not unread. Changes are logged after their messages, so a counted message has been seen with
    /// its changes. Two limits apply: deletions of messages in channels count if they are among the
    /// newest entries of the inbox, some thousands, and changes of one log if they are among the newest
    /// [`MAX_WAITING_CHANGES`](crate::timeline::MAX_WAITING_CHANGES).
    ///
    /// Unread counts are exact up to [`MAX_UNREAD`](super::MAX_UNREAD), as far as the log, or for the
    /// page's conversations [`ImBuilder::message_store`], still has the unread messages.
    /// [`ListedConversation::unread_more`] is set otherwise. A page has at most
    /// [`MAX_CONVERSATION_PAGE`](super::MAX_CONVERSATION_PAGE) conversations and
    /// [`MAX_CONVERSATION_PAGE_BYTES`](super::MAX_CONVERSATION_PAGE_BYTES): continue after as many as
    /// came.
    ///
    /// ```
    /// use im_sdk::{
    ///     ConversationChange, ReadMark,
    ///     backend::{Im, Message, user},
    ///     cluster::Cluster,
    ///     id::UserId,
    /// };
    ///
    /// # tokio::runtime::Runtime::new()?.block_on(async {
    /// let im = Im::with_cluster(Cluster::embedded()).await?;
    /// let (alice, bob) = (UserId::parse("alice")?, UserId::parse("bob")?);
    /// for text in ["hi", "are you there?"] {
    ///     im.send(Message::to(user("alice")).from(&bob).text(text)).await?;
    /// }
    /// let page = im.conversations(&alice, 0, 20).await?;
    /// assert_eq!((page.unread, page.conversations[0].unread), (2, 2));
    ///
    /// // Devices do this by `client.mark_read(bob, &position)`.
    /// let read = ConversationChange::new().read(ReadMark::new(1, None)).pin(true);
    /// im.set_conversation(&alice, bob.clone(), read).await?;
    /// let page = im.conversations(&alice, 0, 20).await?;
    /// assert_eq!(page.unread, 1);
    /// assert!(page.conversations[0].state.pinned);
    /// // Bob's state says how far alice has read.
    /// let page = im.conversations(&bob, 0, 20).await?;
    /// assert!(page.conversations[0].state.peer_read.is_some());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`ConversationError`].
    #[doc(alias("badge", "unread"))]
    pub async fn conversations(
        &self,
        user: impl TryInto<UserId, Error = impl Into<InvalidId>>,
        skip: usize,
        limit: usize,
    ) -> Result<ConversationPage, ConversationError> {
        self.inner.conversations.page(&parse_user(user)?, skip, limit).await
    }

    /// Returns one conversation of a user as [`Im::conversations`] has it, also if it is hidden or
    /// deleted. Returns `None` if the user has none of this name, for example a channel that the user is
    /// not a member of.
    ///
    /// The call costs about as much as the list without the other channels: it reads the inbox.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new()?.block_on(async {
    /// use im_sdk::{backend::{Im, Message, user}, cluster::Cluster, id::UserId};
    ///
    /// let im = Im::with_cluster(Cluster::embedded()).await?;
    /// let (alice, bob) = (UserId::parse("alice")?, UserId::parse("bob")?);
    /// im.send(Message::to(user("alice")).from(&bob).text("hi")).await?;
    /// let conversation = im.conversation(&alice, bob).await?.ok_or("there is one")?;
    /// assert_eq!(conversation.unread, 1);
    /// assert!(im.conversation(&alice, UserId::parse("carol")?).await?.is_none());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`ConversationError`].
    pub async fn conversation(
        &self,
        user: impl TryInto<UserId, Error = impl Into<InvalidId>>,
        conversation: impl Into<Recipient>,
    ) -> Result<Option<ListedConversation>, ConversationError> {
        self.inner.conversations.one(&parse_user(user)?, conversation.into()).await
    }

    /// Counts a user's unread messages, for a badge: the sum of [`Im::conversations`] without the list.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new()?.block_on(async {
    /// use im_sdk::{
    ///     backend::{Im, Message, user},
    ///     cluster::Cluster,
    ///     id::UserId,
    /// };
    /// let config = Im::builder().system_user(UserId::parse("system")?);
    /// let im = config.start(Cluster::embedded()).await?;
    /// im.send(Message::to(user("zoe")).text("welcome!")).await?;
    /// assert_eq!(im.unread("zoe").await?.count, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`ConversationError`].
    #[doc(alias = "badge")]
    pub async fn unread(
        &self,
        user: impl TryInto<UserId, Error = impl Into<InvalidId>>,
    ) -> Result<UnreadTotal, ConversationError> {
        self.inner.conversations.unread(&parse_user(user)?).await
    }

    /// Changes a user's state of a conversation, as a device of the user would, and tells the user's
    /// devices. Seqs beyond the end of the log count as its end.
    ///
    /// ```
    /// # tokio::runtime::Runtime::new()?.block_on(async {
    /// use im_sdk::{ConversationChange, backend::Im, cluster::Cluster, id::UserId};
    ///
    /// let im = Im::with_cluster(Cluster::embedded()).await?;
    /// let state = im.set_conversation("alice", UserId::parse("bob")?, ConversationChange::new().mute(true)).await?;
    /// assert!(state.muted);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`ConversationError`]. The call may be repeated.
    pub async fn set_conversation(
        &self,
        user: impl TryInto<UserId, Error = impl Into<InvalidId>>,
        conversation: impl Into<Recipient>,
        change: ConversationChange,
    ) -> Result<ConversationState, ConversationError> {
        self.inner.conversations.set(&parse_user(user)?, &conversation.into(), change).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_bus_confirms_what_it_was_asked_for() {
        let im = Im::with_cluster(Cluster::embedded()).await.unwrap();
        let publisher = im.inner.dispatcher.publisher();
        for _ in 0..3 {
            assert!(publisher.settle(Duration::from_secs(5)).await);
        }
        im.inner.tasks.stop().cancel();
        im.inner.tasks.tracker().close();
        im.inner.tasks.tracker().wait().await;
        assert!(!publisher.settle(Duration::from_millis(10)).await, "nobody listens any more");
    }

    #[tokio::test]
    async fn the_last_handle_that_is_dropped_ends_the_tasks() {
        let im = Im::with_cluster(Cluster::embedded()).await.unwrap();
        let stop = im.inner.tasks.stop().clone();
        let room = im.room("lobby");
        drop(im);
        assert!(!stop.is_cancelled(), "the room still needs them");
        drop(room);
        assert!(stop.is_cancelled());
    }

    #[tokio::test]
    async fn settings_that_make_no_sense_are_refused() {
        let wrong: [fn(ImBuilder) -> ImBuilder; 6] = [
            |im| im.directory_refresh(Duration::ZERO),
            |im| im.node_lease(Duration::ZERO),
            |im| im.handler_concurrency(0),
            |im| im.handler_concurrency(usize::MAX),
            |im| im.handler_timeout(Duration::ZERO),
            |im| im.system_user("no user"),
        ];
        for change in wrong {
            let started = change(Im::builder()).start(Cluster::embedded()).await;
            assert!(matches!(started, Err(StartError::Config(_) | StartError::SystemUser(_))), "{started:?}");
        }
    }
}
