//! What the application holds.

use std::sync::Arc;

use bytes::Bytes;
use tokio::{
    runtime::Handle,
    sync::{Mutex, mpsc, oneshot, watch},
};

use super::{
    ClientConfig, Endpoint, Event, FoundPage, HistoryPage, LocalId, MAX_QUEUED_EVENTS, NoEndpoints,
    OpenError, Position, PublishError, QueuedSend, RequestError, SendError, State, Transport,
    acks::AckQueue,
    core::{Answer, Reply},
    driver::{self, COMMAND_CHANNEL, Command, Ends, Status, Wish},
    transport::Connector,
};
use crate::{Content, Conversation, HistoryQuery, HistoryRange, Recipient, Search, id::MessageId};

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
    pub(super) commands: mpsc::Sender<Command>,
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
        self.wishes.send_modify(|wish| {
            wish.online = true;
            wish.connects += 1;
        });
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

    /// Where servers listen from now on, best first, instead of [`ClientConfig::endpoints`]: for the next attempt, while a
    /// connection that is there stays. Returns at once.
    ///
    /// An application whose [`TokenProvider::endpoints`](super::TokenProvider::endpoints) knows them need not call this.
    ///
    /// # Errors
    /// [`NoEndpoints`]: the list is empty, and the client goes on with those that it knows.
    pub fn set_endpoints(&self, endpoints: Vec<Endpoint>) -> Result<(), NoEndpoints> {
        if endpoints.is_empty() {
            return Err(NoEndpoints);
        }
        self.wishes.send_modify(|wish| wish.endpoints = Some(endpoints.into()));
        Ok(())
    }

    /// The token to connect with from now on, in place of [`ClientConfig::tokens`]: for the next connection, while one that is there
    /// stays. Returns at once. Whoever had a token that ran out, and so was [stopped](Event::Stopped), sets another one and
    /// [connects](Client::connect): nothing is lost, and the store stays open.
    ///
    /// An application whose [`TokenProvider`](super::TokenProvider) asks its back end need not call this.
    pub fn set_token(&self, token: impl Into<String>) {
        self.wishes.send_modify(|wish| wish.token = Some(Arc::new(token.into())));
    }

    /// Where the client stands.
    pub fn state(&self) -> State {
        self.status().state
    }

    /// What the connection runs over; `None` unless connected.
    pub fn transport(&self) -> Option<Transport> {
        self.status().transport
    }

    /// How many received messages were skipped because their ids made no sense. Anything but 0 is a fault of the back
    /// end.
    pub fn skipped_messages(&self) -> u64 {
        self.status().skipped
    }

    /// How many entries of logs came although they were known. They were dropped; some are normal after a sync.
    pub fn repeated_messages(&self) -> u64 {
        self.status().repeated
    }

    fn status(&self) -> Status {
        let status = *self.status.borrow();
        // Whoever would tell is gone: the runtime was shut down.
        let is_gone = self.status.has_changed().is_err();
        if is_gone { Status { state: State::Closed, transport: None, ..status } } else { status }
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
        answer.await.unwrap_or_else(|_| {
            Err(PublishError::Unconfirmed { reason: "the runtime was shut down under the client".to_owned() })
        })
    }

    /// A page of the past, of a conversation or of the whole inbox: what came before a position that the application knows, or
    /// what a [reset](Event::Reset) left out; [`Client::fill`] does that. Waits for [`ClientConfig::request_timeout`] at most,
    /// over changes of the connection. `limit` 0 is as many as the back end likes to send; it may always send fewer than asked
    /// for.
    ///
    /// Messages are as they are now, see [`HistoryPage`]. What is wanted is a [`HistoryRange`](crate::HistoryRange), or a [`HistoryQuery`] for messages of some kinds or of some
    /// time, or around a message.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn history(
        &self,
        conversation: impl Into<Conversation>,
        query: impl Into<HistoryQuery>,
        limit: u32,
    ) -> Result<HistoryPage, RequestError> {
        self.ask_history(conversation.into(), query.into(), limit, true).await
    }

    /// A page of entries as they are in the log: messages, and changes at the places where they were made. [`Client::history`]
    /// has put them together. What was recalled or edited is gone here, too.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn raw_history(
        &self,
        conversation: impl Into<Conversation>,
        query: impl Into<HistoryQuery>,
        limit: u32,
    ) -> Result<HistoryPage, RequestError> {
        self.ask_history(conversation.into(), query.into(), limit, false).await
    }

    async fn ask_history(
        &self,
        conversation: Conversation,
        query: HistoryQuery,
        limit: u32,
        messages: bool,
    ) -> Result<HistoryPage, RequestError> {
        let ask = |answer| Command::History { conversation, query, limit, messages, answer };
        match self.ask(ask).await? {
            Reply::History(page) => Ok(page),
            // The core answers each question with its own kind of reply.
            _ => Err(RequestError::Closed),
        }
    }

    /// The messages that a [reset](Event::Reset) left out: the last ones up to its position, none of those that are pushed behind it.
    /// [`HistoryPage::next`] leads further back, for [`Client::history`], to what the application has.
    ///
    /// ```no_run
    /// # use im_sdk::client::{Client, Conversation, Position, RequestError};
    /// # async fn example(client: Client, reset: Position) -> Result<(), RequestError> {
    /// let page = client.fill(&reset, 50).await?;
    /// println!("before: {:?}", page.messages);
    /// if let Some(next) = page.next {
    ///     let older = client.history(reset.log.clone(), next, 50).await?;
    ///     println!("before that: {:?}", older.messages);
    /// }
    /// client.ack(&reset);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn fill(&self, reset: &Position, limit: u32) -> Result<HistoryPage, RequestError> {
        let before = HistoryRange::Before(reset.seq.saturating_add(1));
        self.history(reset.log.clone(), before, limit).await
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

    pub(super) async fn ask(&self, command: impl FnOnce(oneshot::Sender<Answer>) -> Command) -> Answer {
        let (answer, answered) = oneshot::channel();
        self.commands.send(command(answer)).await.map_err(|_| RequestError::Closed)?;
        answered.await.unwrap_or(Err(RequestError::Closed))
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
    // And one that the driver keeps a place for.
    let (events_end, events) = mpsc::channel(MAX_QUEUED_EVENTS + 1);
    let (status_end, status) = watch::channel(Status::INITIAL);
    let client = Client { wishes, commands, acks: acks.clone(), events: Mutex::new(events), status };
    let ends =
        Ends { wishes: wishes_end, commands: commands_end, acks, events: events_end, status: status_end };
    (client, ends)
}
