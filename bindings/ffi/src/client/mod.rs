//! The client of a device.

mod changes;
mod conversations;
pub(crate) mod list;
mod rooms;

use std::{sync::Arc, time::Duration};

use im_sdk::client as sdk;

use self::list::Lists;
use crate::{
    ClientConfig, Content, Conversation, Event, FoundPage, HistoryPage, HistoryQuery, HistoryRange,
    OpenError, Position, PublishError, Published, Recipient, RequestError, Search, SendError, SendHandle,
    State, TokenProvider, Transport, UnsettledSend, runtime, token::parse_endpoints,
};

/// The client of a device: connects to a server, watches the connection, and reconnects.
#[derive(Debug, uniffi::Object)]
pub struct Client {
    pub(crate) inner: sdk::Client,
    pub(crate) lists: Lists,
}

#[uniffi::export]
impl Client {
    /// Opens a client that is not connected yet. It runs on the library's own threads.
    ///
    /// # Errors
    /// [`OpenError`]. The network is not used.
    #[uniffi::constructor]
    pub fn open(config: ClientConfig, tokens: Arc<dyn TokenProvider>) -> Result<Self, OpenError> {
        let inner = sdk::Client::open_on(config.parse(tokens)?, &runtime::handle()?)?;
        Ok(Self { inner, lists: Lists::default() })
    }

    /// Connects and stays connected. A client that waits for its next attempt connects now. Returns at once.
    pub fn connect(&self) {
        self.inner.connect();
    }

    /// Disconnects, and stays disconnected until `connect`. Returns at once.
    pub fn disconnect(&self) {
        self.inner.disconnect();
    }

    /// Replaces the endpoints, best first, from the next attempt on. Returns at once.
    ///
    /// # Errors
    /// [`OpenError`] `NoEndpoints` or `InvalidConfig`: the client keeps its endpoints.
    pub fn set_endpoints(&self, endpoints: Vec<String>) -> Result<(), OpenError> {
        self.inner
            .set_endpoints(parse_endpoints(&endpoints)?)
            .map_err(|error| OpenError::NoEndpoints { reason: error.to_string() })
    }

    /// Replaces the provider by a token, from the next connection on. An existing connection stays. Returns at once.
    pub fn set_token(&self, token: String) {
        self.inner.set_token(token);
    }

    /// Returns the state of the client.
    pub fn state(&self) -> State {
        self.inner.state().into()
    }

    /// Waits until the client's state differs from `known`, and returns it, at once if it differs already. A closed client
    /// returns `Closed`.
    pub async fn state_changed(&self, known: State) -> State {
        self.inner.state_changed(known.into()).await.into()
    }

    /// Returns the transport of the connection, or none unless connected.
    pub fn transport(&self) -> Option<Transport> {
        self.inner.transport().map(Transport::from)
    }

    /// Returns the number of received messages that were skipped because their ids are not valid.
    pub fn skipped_messages(&self) -> u64 {
        self.inner.skipped_messages()
    }

    /// Returns the number of entries of logs that were dropped because they had come before.
    pub fn repeated_messages(&self) -> u64 {
        self.inner.repeated_messages()
    }

    /// Takes the next events, in order: at least one, waiting for it if necessary, and at most `max`. Returns an empty
    /// list only when the client is closed and all events were taken. The application has to keep calling this.
    pub async fn next_events(&self, max: u32) -> Vec<Event> {
        let events = self.inner.next_events(max as usize).await;
        self.lists.apply(&events);
        events.into_iter().map(Event::from).collect()
    }

    /// Acknowledges that the application has processed a log up to a position. Returns at once. After a restart of the
    /// process, the log continues after it.
    ///
    /// A position that did not come with an event is ignored.
    pub fn ack(&self, position: Position) {
        if let Some(position) = position.parse() {
            self.inner.ack(&position);
        }
    }

    /// Sends a message to a user or a channel. Returns a handle as soon as the store has the message. `Published` or
    /// `PublishFailed` reports the outcome, and so does the handle. With `within_ms` the client gives up after that time,
    /// including the wait for a connection.
    ///
    /// # Errors
    /// [`SendError`]: the message was not accepted, and will not be sent.
    #[uniffi::method(default(within_ms = None))]
    pub async fn send(
        &self,
        to: Recipient,
        content: Content,
        within_ms: Option<u64>,
    ) -> Result<Arc<SendHandle>, SendError> {
        let request = self.inner.send(to.parse()?, content.parse()?);
        Ok(SendHandle::new(limited(request, within_ms).await?))
    }

    /// Sends a message to a user or a channel and waits for the outcome, for `within_ms` or else for `publish_timeout_ms` of
    /// the configuration. No event reports the outcome, and a failed send is not kept.
    ///
    /// # Errors
    /// [`PublishError`], which says whether anything was sent.
    #[uniffi::method(default(within_ms = None))]
    pub async fn send_and_wait(
        &self,
        to: Recipient,
        content: Content,
        within_ms: Option<u64>,
    ) -> Result<Published, PublishError> {
        let request = self.inner.send(to.parse()?, content.parse()?);
        Ok(limited(request, within_ms).outcome().await?.into())
    }

    /// Returns the unsettled sends of this process and earlier ones, in order.
    pub async fn unsettled_sends(&self) -> Vec<UnsettledSend> {
        self.inner.unsettled_sends().await.into_iter().map(UnsettledSend::from).collect()
    }

    /// Reads a page of history, of the user's inbox or of a channel. `limit` 0 leaves the number to the back end, which may
    /// always send fewer than requested.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn history(
        &self,
        conversation: Conversation,
        range: HistoryRange,
        limit: u32,
    ) -> Result<HistoryPage, RequestError> {
        let range = im_sdk::HistoryRange::from(range);
        Ok(self.inner.history(conversation.parse()?, range, limit).await?.into())
    }

    /// Reads a page of history with messages of some kinds or of some time, or around a message.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn query_history(
        &self,
        conversation: Conversation,
        query: HistoryQuery,
        limit: u32,
    ) -> Result<HistoryPage, RequestError> {
        Ok(self.inner.history(conversation.parse()?, query.parse()?, limit).await?.into())
    }

    /// Reads a page of raw log entries: messages, and changes where they were made. `history` returns messages with their changes
    /// applied.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn raw_history(
        &self,
        conversation: Conversation,
        query: HistoryQuery,
        limit: u32,
    ) -> Result<HistoryPage, RequestError> {
        Ok(self.inner.raw_history(conversation.parse()?, query.parse()?, limit).await?.into())
    }

    /// Reads the messages that a reset left out: the last ones up to its position. The page's `next` leads further back, for
    /// `history`.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn fill(&self, reset: Position, limit: u32) -> Result<HistoryPage, RequestError> {
        let invalid = || RequestError::InvalidId { reason: "the position names no log".to_owned() };
        Ok(self.inner.fill(&reset.parse().ok_or_else(invalid)?, limit).await?.into())
    }

    /// Searches the archived messages that the user may see, in all conversations or in one.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn search(&self, search: Search, limit: u32) -> Result<FoundPage, RequestError> {
        Ok(self.inner.search(search.parse()?, limit).await?.into())
    }

    /// Reports that the device has another network, or has one again. An existing connection is probed, and a running attempt
    /// starts over. Returns at once.
    pub fn network_changed(&self) {
        self.inner.network_changed();
    }

    /// Reports that the application goes into the background. Within this time the client sends what waits, if it is connected,
    /// saves everything, disconnects, and closes the store's file. Returns `true` if all of that is done, and `false` if the time
    /// was too short, or the application came back first.
    pub async fn entered_background(&self, within_ms: u64) -> bool {
        self.inner.entered_background(Duration::from_millis(within_ms)).await
    }

    /// Reports that the application is in the foreground again. The client connects if it was connected before. Returns at once.
    pub fn entered_foreground(&self) {
        self.inner.entered_foreground();
    }

    /// Reports that the device is short of memory. No data is lost. Returns at once.
    pub fn memory_pressure(&self) {
        self.inner.memory_pressure();
    }

    /// Closes the client for good and waits until that is done, for some seconds at most.
    pub async fn shutdown(&self) {
        self.inner.shutdown().await;
    }
}

pub(crate) fn limited(request: sdk::SendRequest, within_ms: Option<u64>) -> sdk::SendRequest {
    match within_ms {
        Some(limit) => request.within(Duration::from_millis(limit)),
        None => request,
    }
}
