//! The handle that an application holds.

use std::sync::Arc;

use bytes::Bytes;
use tokio::{
    runtime::Handle,
    sync::{Mutex, mpsc, oneshot, watch},
};

use super::{
    ClientConfig, Event, EventStream, FoundPage, HistoryPage, MAX_QUEUED_EVENTS, NoEndpoints, OpenError,
    Position, RequestError, State,
    acks::AckQueue,
    core::{Answer, Reply},
    driver::{self, COMMAND_CHANNEL, Command, DesiredState, DriverChannels, Status},
    transport::Connector,
};
use crate::{Conversation, Endpoint, HistoryQuery, HistoryRange, Search, Transport, id::MessageId};

/// The answer of the back end that took a message.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Published {
    /// The id that the message got. `None`: the back end handled it without sending a message.
    pub message_id: Option<MessageId>,
    /// The application's own answer, often empty.
    pub answer: Bytes,
}

/// A device's connection to its servers: the client makes it, watches over it and makes it again.
///
/// Cloning is cheap: clones share the connection and the queue of events, so each event goes to one of them. The client ends when
/// [`Client::shutdown`] is called, or when the last clone is dropped. Dropping waits for nothing: what was sent and not answered
/// stays in the store. A [`SendHandle`](super::SendHandle) and an [`EventStream`] do not keep the client.
///
/// **The application has to keep taking [events](Client::next_events).** Once [`MAX_QUEUED_EVENTS`] wait, the client stops reading from
/// the network and makes no new connection until there is room. Answers come over the same connection, behind the events, so until
/// then nothing is answered either: sends stay without an outcome, and requests such as [`Client::history`] end with
/// [`RequestError::TimedOut`].
#[derive(Clone, Debug)]
pub struct Client {
    pub(super) desired: watch::Sender<DesiredState>,
    pub(super) commands: mpsc::Sender<Command>,
    acks: Arc<AckQueue>,
    /// Locked only while somebody waits for events; a second waiter waits for the first.
    pub(super) events: Arc<Mutex<mpsc::Receiver<Event>>>,
    pub(super) status: watch::Receiver<Status>,
}

impl Client {
    /// Opens a client that is not connected yet, on the tokio runtime that this runs in.
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::sync::Arc;
    ///
    /// use im_sdk::client::{Client, ClientConfig};
    ///
    /// let endpoints = vec!["quic://im.example.com:7801".parse()?, "wss://im.example.com".parse()?];
    /// let client = Client::open(ClientConfig::new(endpoints, "desktop/laptop-1".parse()?, Arc::new("a token")))?;
    /// client.connect();
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`OpenError`]: no endpoint, no runtime, or a root certificate that cannot serve as one. The network plays no part.
    pub fn open(config: ClientConfig) -> Result<Self, OpenError> {
        Self::open_on(config, &Handle::try_current().map_err(|_| OpenError::NoRuntime)?)
    }

    /// Opens a client on a given runtime, which needs its I/O and time drivers. The other methods can be awaited anywhere, also
    /// outside of it.
    ///
    /// # Errors
    /// The errors of [`Client::open`].
    pub fn open_on(config: ClientConfig, runtime: &Handle) -> Result<Self, OpenError> {
        if config.endpoints.is_empty() {
            return Err(OpenError::NoEndpoints);
        }
        let connector = Connector::new(&config)?;
        let (client, channels) = channels();
        // The driver ends when the last sender of `desired` is dropped, so the clients own it.
        drop(runtime.spawn(driver::run(config, connector, channels)));
        Ok(client)
    }

    /// Makes a connection and keeps it. Returns at once; [`Event::Connected`] tells when it is there.
    ///
    /// While the client waits for its next attempt, this makes it now, so call it when the device finds a network
    /// again. It also leaves [`State::Stopped`]. Otherwise, calling it again changes nothing.
    ///
    /// ```no_run
    /// # async fn example(client: im_sdk::client::Client) {
    /// use im_sdk::client::Event;
    ///
    /// client.connect();
    /// // From here on the device has everything that was there.
    /// while !client.next_events(1).await.contains(&Event::UpToDate) {}
    /// # }
    /// ```
    #[doc(alias = "login")]
    pub fn connect(&self) {
        self.desired.send_modify(|desired| {
            desired.online = true;
            desired.connects += 1;
            // In the background, too.
            desired.background_until = None;
        });
    }

    /// Ends the connection and stays away until [`Client::connect`]. Returns at once.
    ///
    /// Messages that were not sent yet wait for the next connection; their time limits go on.
    ///
    /// ```no_run
    /// # fn example(client: im_sdk::client::Client, is_in_foreground: bool) {
    /// if is_in_foreground { client.connect() } else { client.disconnect() }
    /// # }
    /// ```
    pub fn disconnect(&self) {
        self.desired.send_modify(|desired| {
            desired.online = false;
            desired.disconnects += 1;
        });
    }

    /// Replaces [`ClientConfig::endpoints`], best first, from the next attempt on, while a connection that is there stays. Returns at
    /// once.
    ///
    /// An application whose [`TokenProvider::endpoints`](super::TokenProvider::endpoints) knows them need not call this.
    ///
    /// ```no_run
    /// # fn example(client: im_sdk::client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// client.set_endpoints(vec!["wss://im2.example.com".parse()?])?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`NoEndpoints`]: the list is empty, and the client goes on with those that it knows.
    pub fn set_endpoints(&self, endpoints: Vec<Endpoint>) -> Result<(), NoEndpoints> {
        if endpoints.is_empty() {
            return Err(NoEndpoints);
        }
        self.desired.send_modify(|desired| desired.endpoints = Some(endpoints.into()));
        Ok(())
    }

    /// Replaces [`ClientConfig::tokens`] by a token, from the next connection on, while one that is there stays. Returns at once. An
    /// application whose token ran out, and whose client so was [stopped](Event::Stopped), sets another one and
    /// [connects](Client::connect): nothing is lost, and the store stays open.
    ///
    /// An application whose [`TokenProvider`](super::TokenProvider) asks its back end need not call this.
    ///
    /// ```no_run
    /// # fn example(client: im_sdk::client::Client) {
    /// client.set_token("eyJhbGciOi...");
    /// client.connect();
    /// # }
    /// ```
    pub fn set_token(&self, token: impl Into<String>) {
        self.desired.send_modify(|desired| desired.token = Some(Arc::new(token.into())));
    }

    /// Returns where the client stands.
    ///
    /// ```no_run
    /// # fn example(client: im_sdk::client::Client) {
    /// use im_sdk::client::State;
    ///
    /// let banner = match client.state() {
    ///     State::Connected => "",
    ///     State::Connecting | State::Waiting => "connecting ...",
    ///     _ => "offline",
    /// };
    /// # }
    /// ```
    pub fn state(&self) -> State {
        self.status().state
    }

    /// Waits until the client's state is another one than `known`, and returns it: at once, if it is already. States in between are
    /// not told. Of a closed client that is [`State::Closed`] at once, whatever is known.
    ///
    /// ```no_run
    /// # async fn example(client: im_sdk::client::Client) {
    /// use im_sdk::client::State;
    ///
    /// let mut state = client.state();
    /// while state != State::Closed {
    ///     println!("{state:?}");
    ///     state = client.state_changed(state).await;
    /// }
    /// # }
    /// ```
    pub async fn state_changed(&self, known: State) -> State {
        let mut status = self.status.clone();
        loop {
            let state = self.state();
            if state != known || state == State::Closed {
                return state;
            }
            // An error says that the driver is gone, and so does the state.
            _ = status.changed().await;
        }
    }

    /// Returns the transport of the connection; `None` unless connected.
    pub fn transport(&self) -> Option<Transport> {
        self.status().transport
    }

    /// Counts received messages that were skipped because their ids made no sense. Anything but 0 is a fault of the back
    /// end.
    pub fn skipped_messages(&self) -> u64 {
        self.status().skipped
    }

    /// Counts entries of logs that came although they were known, and were dropped. Some are normal after a sync.
    pub fn repeated_messages(&self) -> u64 {
        self.status().repeated
    }

    fn status(&self) -> Status {
        let status = *self.status.borrow();
        // The driver is gone without a word: the runtime was shut down.
        let is_gone = self.status.has_changed().is_err();
        if is_gone { Status { state: State::Closed, transport: None, ..status } } else { status }
    }

    /// Takes the next events, in order: at least one, waiting for it if need be, and at most `max` (0 counts as 1). Empty
    /// only when the client is closed and everything was taken. [`Client::events`] gives the same events one by one.
    ///
    /// Cancel-safe: a future that is dropped takes no event with it.
    ///
    /// ```no_run
    /// # async fn example(client: im_sdk::client::Client) {
    /// use im_sdk::client::Event;
    ///
    /// loop {
    ///     let events = client.next_events(100).await;
    ///     if events.is_empty() {
    ///         break; // closed
    ///     }
    ///     // One transaction of the application's database for the whole batch, then one acknowledgement.
    ///     let mut last = None;
    ///     for event in events {
    ///         if let Event::Message(message) = event {
    ///             println!("{:?}: {:?}", message.from, message.content.as_text());
    ///             last = message.position.or(last);
    ///         }
    ///     }
    ///     last.iter().for_each(|position| client.ack(position));
    /// }
    /// # }
    /// ```
    pub async fn next_events(&self, max: usize) -> Vec<Event> {
        let mut events = Vec::new();
        self.events.lock().await.recv_many(&mut events, max.max(1)).await;
        events
    }

    /// Returns the events as a stream, which ends when the client is closed and everything was taken.
    ///
    /// The stream takes from the same queue as [`Client::next_events`]: each event goes to one taker. It does not keep the client.
    ///
    /// ```no_run
    /// # async fn example(client: im_sdk::client::Client) {
    /// use futures_util::StreamExt as _;
    /// use im_sdk::client::Event;
    ///
    /// let mut events = client.events();
    /// while let Some(event) = events.next().await {
    ///     match event {
    ///         Event::Message(message) => println!("{:?}", message.content.as_text()),
    ///         Event::Stopped { cause, reason, .. } => println!("{}: {reason}", cause.code()),
    ///         _ => {}
    ///     }
    /// }
    /// # }
    /// ```
    pub fn events(&self) -> EventStream {
        EventStream::new(self.events.clone())
    }

    /// Acknowledges that the application has dealt with everything in a log up to a position, as it came with
    /// [`Event::Message`] or [`Event::Reset`]. Returns at once.
    ///
    /// Acknowledgements are cumulative: the last one of a batch of events is enough. After a restart of the process a log goes on
    /// behind the last position that was acknowledged and saved, so call this when the message is where it belongs, in
    /// the application's own database for example. The back end learns of it too.
    ///
    /// ```no_run
    /// # fn save(_: &im_sdk::client::ReceivedMessage) {}
    /// # fn example(client: im_sdk::client::Client, message: im_sdk::client::ReceivedMessage) {
    /// save(&message);
    /// if let Some(position) = &message.position {
    ///     client.ack(position);
    /// }
    /// # }
    /// ```
    pub fn ack(&self, position: &Position) {
        self.acks.push(position);
    }

    /// Reads a page of the past, of a conversation or of the whole inbox: what came before a position that the application knows, or
    /// what a [reset](Event::Reset) left out; [`Client::fill`] does that. Waits for [`ClientConfig::request_timeout`] at most,
    /// over changes of the connection. `limit` 0 is as many as the back end likes to send; it may always send fewer than asked
    /// for.
    ///
    /// Messages are as they are now, see [`HistoryPage`]. The range is a [`HistoryRange`], or a [`HistoryQuery`] for messages of
    /// some kinds or of some time, or around a message.
    ///
    /// ```no_run
    /// # async fn example(client: im_sdk::client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// use im_sdk::{HistoryRange, Recipient};
    ///
    /// let team = Recipient::channel("team")?;
    /// let mut page = client.history(&team, HistoryRange::Newest, 50).await?;
    /// while let Some(older) = page.next {
    ///     page = client.history(&team, older, 50).await?;
    ///     println!("{} older messages", page.messages.len());
    /// }
    /// # Ok(())
    /// # }
    /// ```
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

    /// Reads a page of entries as they are in the log: messages, and changes at the places where they were made. [`Client::history`]
    /// has put them together. The text of a recalled or edited message is gone here, too.
    ///
    /// ```no_run
    /// # async fn example(client: im_sdk::client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// use im_sdk::{Conversation, HistoryRange};
    ///
    /// // The whole inbox from its beginning, entry by entry, for a copy on this device.
    /// let page = client.raw_history(Conversation::Inbox, HistoryRange::After(0), 100).await?;
    /// for entry in &page.messages {
    ///     println!("{:?}: {:?}", entry.position, entry.content.kind());
    /// }
    /// # Ok(())
    /// # }
    /// ```
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

    /// Reads the messages that a [reset](Event::Reset) left out: the last ones up to its position, none of those that are pushed behind it.
    /// [`HistoryPage::next`] leads further back, for [`Client::history`], to what the application has.
    ///
    /// ```no_run
    /// # use im_sdk::{Conversation, client::{Client, Position, RequestError}};
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

    /// Searches for messages in all that the user may see and that the back ends keep for good, or in one conversation of it.
    /// Waits and limits as [`Client::history`].
    ///
    /// ```no_run
    /// # async fn example(client: im_sdk::client::Client) -> Result<(), im_sdk::client::RequestError> {
    /// use im_sdk::Search;
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

    /// Ends the client for good and waits until that is done, for some seconds at most: what was sent before is answered if the
    /// connection is up, what was acknowledged is saved, and the server is told. What was [sent](Client::send) and not answered stays
    /// in the store. Calling it again just waits. The other clones are closed too.
    ///
    /// Events that came before can still be taken.
    ///
    /// ```no_run
    /// # async fn example(client: im_sdk::client::Client) {
    /// client.shutdown().await;
    /// for event in client.next_events(1000).await {
    ///     println!("came before the end: {event:?}");
    /// }
    /// # }
    /// ```
    #[doc(alias = "close")]
    #[doc(alias = "logout")]
    pub async fn shutdown(&self) {
        self.desired.send_modify(|desired| desired.closing = true);
        // An error means that the driver is gone, and that is as closed as can be.
        _ = self.status.clone().wait_for(|status| status.state == State::Closed).await;
    }
}

fn channels() -> (Client, DriverChannels) {
    let (desired, desired_end) = watch::channel(DesiredState::default());
    let (commands, commands_end) = mpsc::channel(COMMAND_CHANNEL);
    let acks = Arc::new(AckQueue::default());
    // And one that the driver keeps a place for.
    let (events_end, events) = mpsc::channel(MAX_QUEUED_EVENTS + 1);
    let (status_end, status) = watch::channel(Status::INITIAL);
    let client =
        Client { desired, commands, acks: acks.clone(), events: Arc::new(Mutex::new(events)), status };
    let driver = DriverChannels {
        desired: desired_end,
        commands: commands_end,
        acks,
        events: events_end,
        status: status_end,
    };
    (client, driver)
}
