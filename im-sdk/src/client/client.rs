//! What the application holds.

use std::sync::Arc;

use bytes::Bytes;
use tokio::{
    runtime::Handle,
    sync::{Mutex, mpsc, oneshot, watch},
};

use super::{
    ClientConfig, ConversationPage, Event, FoundPage, HistoryPage, JoinedRoom, LocalId, MAX_QUEUED_EVENTS,
    MarkError, OpenError, Position, PublishError, QueuedSend, Readers, RequestError, SendError, State,
    Transport,
    acks::AckQueue,
    core::{Answer, Reply},
    driver::{self, COMMAND_CHANNEL, Command, Ends, Status, Wish},
    transport::Connector,
};
use crate::{
    Content, Conversation, ConversationChange, HistoryQuery, ReadMark, Recipient, Search, Signal,
    UserPresence,
    id::{ChannelId, Device, MessageId, UserId},
    proto::pb,
};

/// What a server made of a publish that it took.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Published {
    /// The id that the message got. `None`: the back end handled it without sending a message.
    pub message_id: Option<MessageId>,
    /// Whatever the back end answers, often nothing.
    pub answer: Bytes,
}

/// A device's connection to its servers: made, watched over and remade until told otherwise.
///
/// All methods take `&self`; wrap it in an `Arc` to share it. Dropping it closes the connection without waiting for
/// anything; [`Client::close`] waits.
///
/// The application has to keep taking [events](Client::next_events): once [`MAX_QUEUED_EVENTS`] wait, the client
/// stops reading from the network and makes no new connection until there is room.
#[derive(Debug)]
pub struct Client {
    wishes: watch::Sender<Wish>,
    commands: mpsc::Sender<Command>,
    acks: Arc<AckQueue>,
    /// Locked only by whoever waits for events; a second waiter waits for the first.
    events: Mutex<mpsc::Receiver<Event>>,
    status: watch::Receiver<Status>,
}

impl Client {
    /// A client that is not connected yet, on the tokio runtime that this runs in.
    ///
    /// # Errors
    /// [`OpenError`]: no endpoint, no runtime, or a root certificate that is none. The network plays no part.
    pub fn open(config: ClientConfig) -> Result<Self, OpenError> {
        Self::open_on(config, &Handle::try_current().map_err(|_| OpenError::NoRuntime)?)
    }

    /// The same on a given runtime, which needs its I/O and time drivers. The other methods can be awaited anywhere,
    /// also outside of it.
    ///
    /// # Errors
    /// As [`Client::open`].
    pub fn open_on(config: ClientConfig, runtime: &Handle) -> Result<Self, OpenError> {
        if config.endpoints.is_empty() {
            return Err(OpenError::NoEndpoints);
        }
        let connector = Connector::new(&config)?;
        let (client, ends) = channels();
        // The driver ends when `wishes` is dropped, so the client owns it.
        drop(runtime.spawn(driver::run(config, connector, ends)));
        Ok(client)
    }

    /// Makes a connection and keeps it. Returns at once; [`Event::Connected`] tells when it is there.
    ///
    /// While the client waits for its next attempt, this makes it now, so call it when the device finds a network
    /// again. It also leaves [`State::Stopped`]. Otherwise, calling it again changes nothing.
    pub fn connect(&self) {
        self.wishes.send_modify(|wish| wish.online = true);
    }

    /// Ends the connection and stays away until [`Client::connect`]. Returns at once.
    ///
    /// Publishes that were not sent yet wait for the next connection; their time runs on.
    pub fn disconnect(&self) {
        self.wishes.send_modify(|wish| {
            wish.online = false;
            wish.disconnects += 1;
        });
    }

    /// Where the client stands.
    pub fn state(&self) -> State {
        self.status.borrow().state
    }

    /// What the connection runs over; `None` unless connected.
    pub fn transport(&self) -> Option<Transport> {
        self.status.borrow().transport
    }

    /// How many received messages were skipped because their ids made no sense. Anything but 0 is a fault of the back
    /// end.
    pub fn skipped_messages(&self) -> u64 {
        self.status.borrow().skipped
    }

    /// How many entries of logs came although they were known. They were dropped; some are normal after a sync.
    pub fn repeated_messages(&self) -> u64 {
        self.status.borrow().repeated
    }

    /// The next events, in order: at least one, waiting for it if need be, and at most `max` (0 counts as 1). Empty
    /// only when the client is closed and everything was taken.
    ///
    /// Cancel-safe: a future that is dropped takes no event with it.
    pub async fn next_events(&self, max: usize) -> Vec<Event> {
        let mut events = Vec::new();
        self.events.lock().await.recv_many(&mut events, max.max(1)).await;
        events
    }

    /// Tells that the application has dealt with everything in a log up to a position, as it came with
    /// [`Event::Message`] or [`Event::Reset`]. Returns at once.
    ///
    /// It is cumulative: the last one of a batch of events is enough. After a restart of the process a log goes on
    /// behind the last position that was acknowledged and saved, so call this when the message is where it belongs, in
    /// the application's own database for example. The back end learns of it too.
    pub fn ack(&self, position: &Position) {
        self.acks.push(position);
    }

    /// Sends a message to a user or a channel. Returns when the [store](ClientConfig::store) has it: from there on it is sent until it is
    /// answered, over any number of connections, and processes if the store outlives them, and has one effect.
    /// [`Event::Published`] or [`Event::PublishFailed`] tells how it ends.
    ///
    /// Messages to one user or channel arrive in the order of these calls and of those of [`Client::publish`].
    ///
    /// # Errors
    /// [`SendError`]: it was not taken, and nothing will be sent.
    pub async fn send(&self, to: impl Into<Recipient>, content: Content) -> Result<LocalId, SendError> {
        let (taken, answer) = oneshot::channel();
        let command = Command::Send { to: to.into(), content, taken };
        self.commands.send(command).await.map_err(|_| SendError::Closed)?;
        // The driver answers everything that it has seen, unless the runtime was shut down under it.
        answer.await.unwrap_or(Err(SendError::Closed))
    }

    /// Everything that was [sent](Client::send), now or by an earlier process, and is not settled, in order.
    pub async fn queued(&self) -> Vec<QueuedSend> {
        let (list, answer) = oneshot::channel();
        match self.commands.send(Command::Queued(list)).await {
            Ok(()) => answer.await.unwrap_or_default(),
            Err(_) => Vec::new(),
        }
    }

    /// Forgets a send that failed, or that was never handed to a connection. False: it may be on its way, or it is not
    /// there any more.
    pub async fn discard(&self, local_id: LocalId) -> bool {
        let (done, answer) = oneshot::channel();
        let asked = self.commands.send(Command::Discard(local_id, done)).await;
        asked.is_ok() && answer.await.unwrap_or(false)
    }

    /// Sends a message to a user or a channel and waits until the back end has taken it, for [`ClientConfig::publish_timeout`] at most.
    ///
    /// It is [`Client::send`] for those who can wait: it is saved first, and repeated over a change of the connection,
    /// and while the back end cannot take it for the moment. When time is up, or the client is closed or stopped, it is
    /// given up: only then can the outcome be unknown. Should the process end before the outcome, the next one
    /// sends it, and tells so by an event. Dropping the future does not take the message back.
    ///
    /// # Errors
    /// [`PublishError`], which says whether anything was sent.
    pub async fn publish(
        &self,
        to: impl Into<Recipient>,
        content: Content,
    ) -> Result<Published, PublishError> {
        let (outcome, answer) = oneshot::channel();
        let command = Command::Publish { to: to.into(), content, outcome };
        self.commands.send(command).await.map_err(|_| PublishError::Closed)?;
        answer.await.unwrap_or(Err(PublishError::Unconfirmed))
    }

    /// A page of the past, of the user's inbox or of a channel: what came before a position that the application knows, or
    /// what a [reset](Event::Reset) left out. Waits for [`ClientConfig::request_timeout`] at most, over changes of the
    /// connection. `limit` 0 is as many as the back end likes to send; it may always send fewer than asked for.
    ///
    /// What is wanted is a [`HistoryRange`](crate::HistoryRange), or a [`HistoryQuery`] for messages of some kinds or of some
    /// time, or around a message.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn history(
        &self,
        conversation: Conversation,
        query: impl Into<HistoryQuery>,
        limit: u32,
    ) -> Result<HistoryPage, RequestError> {
        let query = query.into();
        let ask = |answer| Command::History { conversation, query, limit, answer };
        match self.ask(ask).await? {
            Reply::History(page) => Ok(page),
            // The core answers each question with its own kind of reply.
            _ => Err(RequestError::Closed),
        }
    }

    /// Looks for messages in all that the user may see and that the back ends keep for good, or in one conversation of it.
    /// Waits and limits as [`Client::history`].
    ///
    /// ```no_run
    /// # async fn example(client: im_sdk::client::Client) -> Result<(), im_sdk::client::RequestError> {
    /// use im_sdk::client::Search;
    /// let mut search = Search::new("lunch");
    /// loop {
    ///     let page = client.search(search.clone(), 20).await?;
    ///     for message in page.messages {
    ///         println!("{:?}: {:?}", message.from, message.content.as_text());
    ///     }
    ///     let Some(next) = page.next else { break };
    ///     search = search.before(next);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn search(&self, search: Search, limit: u32) -> Result<FoundPage, RequestError> {
        match self.ask(|answer| Command::Search { search, limit, answer }).await? {
            Reply::Found(page) => Ok(page),
            _ => Err(RequestError::Closed),
        }
    }

    /// Goes into a room, if the back end lets the device in, with whatever bytes its handler wants. Waits for
    /// [`ClientConfig::request_timeout`] at most. The device stays in over changes of the connection, until it
    /// [leaves](Client::leave_room) or [`Event::RoomLeft`] says otherwise; in between it misses what is not in the room's log.
    ///
    /// ```no_run
    /// # async fn example(client: im_sdk::client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// use im_sdk::{Signal, id::ChannelId};
    /// let lobby = ChannelId::parse("lobby")?;
    /// let joined = client.join_room(lobby.clone(), "ticket").await?;
    /// println!("{} are here", joined.online);
    /// client.signal(lobby.clone(), Signal::typing()).await;
    /// client.leave_room(lobby).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`RequestError`]. After one that is no refusal the device may be in the room for as long as this connection lasts.
    pub async fn join_room(
        &self,
        channel: ChannelId,
        data: impl Into<Bytes>,
    ) -> Result<JoinedRoom, RequestError> {
        let data = data.into();
        match self.ask(|answer| Command::JoinRoom { channel, data, answer }).await? {
            Reply::JoinedRoom(joined) => Ok(joined),
            _ => Err(RequestError::Closed),
        }
    }

    /// Leaves a room. Leaving one that the device is not in does no harm.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn leave_room(&self, channel: ChannelId) -> Result<(), RequestError> {
        self.ask(|answer| Command::LeaveRoom { channel, answer }).await.map(drop)
    }

    /// Watches these users, at most 500, and no others: tells where those of them stand whom the back end lets this user see.
    /// [`Event::Presence`] tells when that changes, also over changes of the connection. A change that is lost on the way
    /// shows within some minutes.
    ///
    /// ```no_run
    /// # async fn example(client: im_sdk::client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// for presence in client.watch(["alice".parse()?, "bob".parse()?]).await? {
    ///     println!("{}: {}", presence.user, presence.is_online());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn watch(
        &self,
        users: impl IntoIterator<Item = UserId>,
    ) -> Result<Vec<UserPresence>, RequestError> {
        let users = users.into_iter().collect();
        match self.ask(|answer| Command::Watch { users, answer }).await? {
            Reply::Presences(presences) => Ok(presences),
            _ => Err(RequestError::Closed),
        }
    }

    /// Signals something to a user's devices, or to a channel that the user is a member of or a room that the device is in. It is sent
    /// once, if there is a connection, and nobody tells what becomes of it. False: it goes nowhere, for want of a
    /// connection, or because too many wait.
    pub async fn signal(&self, to: impl Into<Recipient>, signal: Signal) -> bool {
        self.signal_to(to.into(), None, signal).await
    }

    /// The same to one device of a user, as a signal from it has named it: the steps of a call after its first ones.
    pub async fn signal_device(&self, to: UserId, device: Device, signal: Signal) -> bool {
        self.signal_to(to.into(), Some(device), signal).await
    }

    async fn signal_to(&self, to: Recipient, device: Option<Device>, signal: Signal) -> bool {
        let (goes, answer) = oneshot::channel();
        let sent = self.commands.send(Command::Signal { to, device, signal, goes }).await;
        sent.is_ok() && answer.await.unwrap_or(false)
    }

    async fn ask(&self, command: impl FnOnce(oneshot::Sender<Answer>) -> Command) -> Answer {
        let (answer, answered) = oneshot::channel();
        self.commands.send(command(answer)).await.map_err(|_| RequestError::Closed)?;
        answered.await.unwrap_or(Err(RequestError::Closed))
    }

    /// The user's conversations from `skip` on: pinned ones first, then by their last messages. `limit` 0 is as many as the
    /// back end likes to send; it may always send fewer than asked for. From here on, what is set in them on other devices
    /// comes reliably as [`Event::ConversationsChanged`]; a [`ConversationList`](super::ConversationList) keeps the list up
    /// to date with it.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn conversations(&self, skip: u32, limit: u32) -> Result<ConversationPage, RequestError> {
        let asked = pb::ConversationsRequest { since: None, limit, skip };
        let question = pb::request::Question::Conversations(asked);
        match self.ask(|answer| Command::Ask { question, answer }).await? {
            Reply::Conversations(page) => Ok(*page),
            _ => Err(RequestError::Closed),
        }
    }

    /// Who has read a message of a channel, by its place: how many, and up to `limit` names. In a conversation with a user,
    /// [`ConversationState::peer_read`](crate::ConversationState::peer_read) tells.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn readers(&self, channel: &ChannelId, seq: u64, limit: u32) -> Result<Readers, RequestError> {
        let asked = pb::ReadersRequest { channel: channel.to_string(), seq, limit };
        let question = pb::request::Question::Readers(asked);
        match self.ask(|answer| Command::Ask { question, answer }).await? {
            Reply::Readers(readers) => Ok(readers),
            _ => Err(RequestError::Closed),
        }
    }

    /// Everything in a conversation up to a position, as it came with its last message, was read. Returns when it is
    /// taken, which is at once.
    ///
    /// It is cumulative, and never goes back. Marks that follow each other closely travel as one, and until it is answered
    /// it is sent again, over any number of connections, but not by another process. [`Event::ConversationsChanged`] tells
    /// when it stands.
    ///
    /// # Errors
    /// [`MarkError`].
    pub async fn mark_read(
        &self,
        conversation: impl Into<Recipient>,
        position: &Position,
    ) -> Result<(), MarkError> {
        let mark = ReadMark::new(position.seq, position.id);
        self.set_conversation(conversation, ConversationChange::new().read(mark)).await
    }

    /// Pins, mutes, hides or deletes a conversation, or keeps a draft. It travels as [`Client::mark_read`] does.
    ///
    /// # Errors
    /// [`MarkError`].
    pub async fn set_conversation(
        &self,
        conversation: impl Into<Recipient>,
        change: ConversationChange,
    ) -> Result<(), MarkError> {
        let (taken, answer) = oneshot::channel();
        let command = Command::Mark { conversation: conversation.into(), change, taken };
        self.commands.send(command).await.map_err(|_| MarkError::Closed)?;
        answer.await.unwrap_or(Err(MarkError::Closed))
    }

    /// Closes the client for good and waits until that is done, for some seconds at most: what was published before
    /// is sent and answered if the connection is up, what was acknowledged is saved, and the server is told. What was
    /// [sent](Client::send) and not answered stays in the store. Calling it again just waits.
    ///
    /// Events that came before can still be taken.
    pub async fn close(&self) {
        self.wishes.send_modify(|wish| wish.closing = true);
        // An error means that the driver is gone, and that is as closed as can be.
        _ = self.status.clone().wait_for(|status| status.state == State::Closed).await;
    }
}

fn channels() -> (Client, Ends) {
    let (wishes, wishes_end) = watch::channel(Wish::default());
    let (commands, commands_end) = mpsc::channel(COMMAND_CHANNEL);
    let acks = Arc::new(AckQueue::default());
    let (events_end, events) = mpsc::channel(MAX_QUEUED_EVENTS);
    let (status_end, status) = watch::channel(Status::INITIAL);
    let client = Client { wishes, commands, acks: acks.clone(), events: Mutex::new(events), status };
    let ends =
        Ends { wishes: wishes_end, commands: commands_end, acks, events: events_end, status: status_end };
    (client, ends)
}
