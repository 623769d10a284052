//! The handle that an application holds.

mod changes;
mod conversations;
mod lifecycle;
mod rooms;
mod send;

use std::sync::Arc;

use tokio::{
    runtime::Handle,
    sync::{Mutex, mpsc, oneshot, watch},
};

pub use self::send::{SendHandle, SendRequest, UnsettledSend};
use super::{
    ClientConfig, Event, EventStream, FoundPage, HistoryPage, MAX_QUEUED_EVENTS, NoEndpoints, OpenError,
    Position, RequestError, State,
    acks::AckQueue,
    core::{Answer, Reply},
    driver::{self, COMMAND_CHANNEL, Command, DesiredState, DriverChannels, Status},
    transport::Connector,
};
use crate::{Conversation, Endpoint, HistoryQuery, HistoryRange, Search, Transport};

/// The client of a device: connects to a server, watches the connection, and reconnects.
///
/// Cloning is cheap. Clones share the connection and the queue of events, so each event goes to one of them. The client ends when
/// [`Client::shutdown`] is called, or when the last clone is dropped. Dropping does not wait: unanswered sends stay in the store.
/// A [`SendHandle`] and an [`EventStream`] do not keep the client alive.
///
/// **The application has to keep taking [events](Client::next_events).** Once [`MAX_QUEUED_EVENTS`] wait, the client stops
/// reading from the network and makes no new connection until there is room. Answers come over the same connection, behind the
/// events, so they stop as well: sends stay without an outcome, and requests such as [`Client::history`] end with
/// [`RequestError::TimedOut`].
#[derive(Clone, Debug)]
pub struct Client {
    pub(super) desired: watch::Sender<DesiredState>,
    pub(super) commands: mpsc::Sender<Command>,
    acks: Arc<AckQueue>,
    /// Locked only during a wait for events; a second waiter waits for the first.
    pub(super) events: Arc<Mutex<mpsc::Receiver<Event>>>,
    pub(super) status: watch::Receiver<Status>,
}

impl Client {
    /// Opens a client on the current tokio runtime. The client is not connected yet.
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
    /// [`OpenError`]: there is no endpoint, no runtime, or a root certificate is not valid. The network is not used.
    pub fn open(config: ClientConfig) -> Result<Self, OpenError> {
        Self::open_on(config, &Handle::try_current().map_err(|_| OpenError::NoRuntime)?)
    }

    /// Opens a client on a given runtime, which needs its I/O and time drivers. The other methods can be awaited anywhere, also
    /// outside of that runtime.
    ///
    /// ```no_run
    /// # use std::sync::Arc;
    /// # use im_sdk::client::{Client, ClientConfig};
    /// # fn example(config: ClientConfig) -> Result<(), Box<dyn std::error::Error>> {
    /// let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    /// let client = Client::open_on(config, runtime.handle())?;
    /// client.connect();
    /// # Ok(())
    /// # }
    /// ```
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

    /// Connects and stays connected. Returns at once; [`Event::Connected`] reports the connection.
    ///
    /// If the client waits before its next attempt, the attempt starts now: call this when the device finds a
    /// network again. It also leaves [`State::Stopped`]. Otherwise a repeated call has no effect.
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
            // Even in the background.
            desired.background_until = None;
        });
    }

    /// Disconnects, and stays disconnected until [`Client::connect`]. Returns at once.
    ///
    /// Messages that were not sent yet wait for the next connection; their time limits keep running.
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

    /// Replaces [`ClientConfig::endpoints`], best first, from the next attempt on. An existing connection stays. Returns at once.
    ///
    /// Not needed by an application whose [`TokenProvider::endpoints`](crate::client::TokenProvider::endpoints) returns the endpoints.
    ///
    /// ```no_run
    /// # fn example(client: im_sdk::client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// client.set_endpoints(vec!["wss://im2.example.com".parse()?])?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`NoEndpoints`]: the list is empty. The client keeps its endpoints.
    pub fn set_endpoints(&self, endpoints: Vec<Endpoint>) -> Result<(), NoEndpoints> {
        if endpoints.is_empty() {
            return Err(NoEndpoints);
        }
        self.desired.send_modify(|desired| desired.endpoints = Some(endpoints.into()));
        Ok(())
    }

    /// Replaces [`ClientConfig::tokens`] by a token, from the next connection on. An existing connection stays. Returns at once.
    /// If the token has run out and the client was [stopped](Event::Stopped) for that, set another one and
    /// [connect](Client::connect): nothing is lost, and the store stays open.
    ///
    /// Not needed by an application whose [`TokenProvider`](crate::client::TokenProvider) asks its backend.
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

    /// Returns the state of the client.
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

    /// Waits until the client's state differs from `known`, and returns it, at once if it differs already. States in between may
    /// be skipped. A closed client returns [`State::Closed`] at once, whatever `known` is.
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
            // An error means that the driver is gone, which the state shows as well.
            _ = status.changed().await;
        }
    }

    /// Returns the transport of the connection, or `None` unless connected.
    ///
    /// ```no_run
    /// # use im_sdk::{Transport, client::Client};
    /// # fn example(client: &Client) {
    /// let is_quic = client.transport() == Some(Transport::Quic);
    /// # }
    /// ```
    pub fn transport(&self) -> Option<Transport> {
        self.status().transport
    }

    /// Returns the number of received messages that were skipped because their ids are not valid. Anything but 0 is a
    /// fault of the backend.
    pub fn skipped_messages(&self) -> u64 {
        self.status().skipped
    }

    /// Returns the number of entries of logs that were dropped because they had come before. Some are normal
    /// after a sync.
    pub fn repeated_messages(&self) -> u64 {
        self.status().repeated
    }

    fn status(&self) -> Status {
        let status = *self.status.borrow();
        // The driver ended without setting the state: the runtime was shut down.
        let is_gone = self.status.has_changed().is_err();
        if is_gone { Status { state: State::Closed, transport: None, ..status } } else { status }
    }

    /// Takes the next events, in order: at least one, waiting for it if necessary, and at most `max` (0 counts as 1).
    /// Returns an empty list only when the client is closed and all events were taken. [`Client::events`] returns the
    /// same events one by one.
    ///
    /// Cancel-safe: dropping the future loses no event.
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

    /// Returns the events as a stream, which ends when the client is closed and all events were taken.
    ///
    /// The stream takes from the same queue as [`Client::next_events`]: each event goes to one taker. It does not keep the client
    /// alive.
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

    /// Acknowledges that the application has processed a log up to a position, which came with [`Event::Message`] or
    /// [`Event::Reset`]. Returns at once.
    ///
    /// Acknowledgements are cumulative: the last one of a batch of events is enough. After a restart of the process, a log
    /// continues behind the last position that was acknowledged and saved. So acknowledge a message once it is stored, for
    /// example in the application's own database. The backend learns of it too.
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

    /// Reads a page of history, of a conversation or of the whole inbox: messages before a position that the application knows,
    /// or those that a [reset](Event::Reset) left out, for which there is [`Client::fill`]. Waits at most
    /// [`ClientConfig::request_timeout`], over changes of the connection. `limit` 0 leaves the number to the backend, which may
    /// always send fewer than requested.
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

    /// Reads a page of entries as they are in the log: messages, and changes where they were made. [`Client::history`] returns
    /// them put together. The content of recalled and edited messages is removed here too.
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
            // The core answers each question with a reply of its own kind.
            _ => Err(RequestError::Closed),
        }
    }

    /// Reads the messages that a [reset](Event::Reset) left out: the last ones up to its position, and none of those that are
    /// pushed after it. [`HistoryPage::next`] leads further back, for [`Client::history`], to the messages that the application
    /// has.
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

    /// Searches messages in everything that the user may see and that the backend keeps for good, or in one conversation.
    /// Waits and limits are those of [`Client::history`].
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

    /// Closes the client for good, and waits until that is done, for some seconds at most. If the connection is up, earlier sends
    /// are answered; acknowledgements are saved, and the server is told. Unanswered [sends](Client::send) stay in the store. A
    /// repeated call just waits. The other clones are closed too.
    ///
    /// Earlier events can still be taken.
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
        // An error means that the driver is gone, so the client is closed.
        _ = self.status.clone().wait_for(|status| status.state == State::Closed).await;
    }
}

fn channels() -> (Client, DriverChannels) {
    let (desired, desired_end) = watch::channel(DesiredState::default());
    let (commands, commands_end) = mpsc::channel(COMMAND_CHANNEL);
    let acks = Arc::new(AckQueue::default());
    // One more, reserved for the driver's last event.
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
