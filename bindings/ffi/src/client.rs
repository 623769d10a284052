//! The client.

use std::sync::Arc;

use im_sdk::{
    client as sdk,
    id::{ChannelId, UserId},
};

use crate::{
    ClientConfig, Content, Conversation, Event, FoundPage, HistoryPage, HistoryQuery, HistoryRange,
    OpenError, Position, PublishError, QueuedSend, RequestError, Search, SendError, State, TokenProvider,
    Transport, config::parse_endpoints, list::Lists, runtime,
};

/// What a server made of a publish that it took.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct Published {
    /// The id that the message got. None: the back end handled it without sending a message.
    pub message_id: Option<u64>,
    /// Whatever the back end answers, often nothing.
    pub answer: Vec<u8>,
}

impl From<sdk::Published> for Published {
    fn from(published: sdk::Published) -> Self {
        let message_id = published.message_id.map(|id| id.as_u64());
        Self { message_id, answer: published.answer.into() }
    }
}

/// A device's connection to its servers: made, watched over and remade until told otherwise.
#[derive(Debug, uniffi::Object)]
pub struct Client {
    pub(crate) inner: sdk::Client,
    pub(crate) lists: Lists,
}

#[uniffi::export]
impl Client {
    /// A client that is not connected yet. The threads that it needs are the library's own.
    ///
    /// # Errors
    /// [`OpenError`]. The network plays no part.
    #[uniffi::constructor]
    pub fn open(config: ClientConfig, tokens: Arc<dyn TokenProvider>) -> Result<Self, OpenError> {
        let inner = sdk::Client::open_on(config.parse(tokens)?, &runtime::handle()?)?;
        Ok(Self { inner, lists: Lists::default() })
    }

    /// Makes a connection and keeps it; at once if it was waiting. Returns at once.
    pub fn connect(&self) {
        self.inner.connect();
    }

    /// Ends the connection and stays away. Returns at once.
    pub fn disconnect(&self) {
        self.inner.disconnect();
    }

    /// Where servers listen from now on, best first, for the next attempt: what the application heard from its back end last.
    /// Returns at once.
    ///
    /// # Errors
    /// [`OpenError`] `NoEndpoints` or `InvalidConfig`: the client goes on with those that it knows.
    pub fn set_endpoints(&self, endpoints: Vec<String>) -> Result<(), OpenError> {
        self.inner
            .set_endpoints(parse_endpoints(&endpoints)?)
            .map_err(|error| OpenError::NoEndpoints { reason: error.to_string() })
    }

    /// The token to connect with from now on, in place of the provider's: for the next connection, while one that is there stays.
    /// Returns at once.
    pub fn set_token(&self, token: String) {
        self.inner.set_token(token);
    }

    /// Where the client stands.
    pub fn state(&self) -> State {
        self.inner.state().into()
    }

    /// What the connection runs over; none unless connected.
    pub fn transport(&self) -> Option<Transport> {
        self.inner.transport().map(Transport::from)
    }

    /// How many received messages were skipped because their ids made no sense.
    pub fn skipped_messages(&self) -> u64 {
        self.inner.skipped_messages()
    }

    /// How many entries of logs came although they were known. They were dropped.
    pub fn repeated_messages(&self) -> u64 {
        self.inner.repeated_messages()
    }

    /// The next events, in order: at least one, waiting for it if need be, and at most `max`. Empty only when the
    /// client is closed and everything was taken. The application has to keep calling this.
    pub async fn next_events(&self, max: u32) -> Vec<Event> {
        let events = self.inner.next_events(max as usize).await;
        self.lists.apply(&events);
        events.into_iter().map(Event::from).collect()
    }

    /// Tells that the application has dealt with everything in a log up to a position. Returns at once. After a
    /// restart of the process the log goes on behind it.
    ///
    /// A position that did not come with an event is passed over.
    pub fn ack(&self, position: Position) {
        if let Some(position) = position.parse() {
            self.inner.ack(&position);
        }
    }

    /// Sends a message to a user; returns its local id when the store has it. `Published` or `PublishFailed` tells how it ends.
    ///
    /// # Errors
    /// [`SendError`]: it was not taken, and nothing will be sent.
    pub async fn send(&self, to: String, content: Content) -> Result<u64, SendError> {
        Ok(self.inner.send(UserId::parse(&to)?, content.parse()?).await?.as_u64())
    }

    /// The same to the members of a channel.
    ///
    /// # Errors
    /// [`SendError`]: it was not taken, and nothing will be sent.
    pub async fn send_to_channel(&self, channel: String, content: Content) -> Result<u64, SendError> {
        Ok(self.inner.send(ChannelId::parse(&channel)?, content.parse()?).await?.as_u64())
    }

    /// Everything that was sent, now or by an earlier process, and is not settled, in order.
    pub async fn queued(&self) -> Vec<QueuedSend> {
        self.inner.queued().await.into_iter().map(QueuedSend::from).collect()
    }

    /// Forgets a send that failed, or that was never handed to a connection. False: it may be on its way, or it is not
    /// there any more.
    pub async fn discard(&self, local_id: u64) -> bool {
        self.inner.discard(sdk::LocalId::from_u64(local_id)).await
    }

    /// Sends a message to a user and waits until the back end has taken it.
    ///
    /// # Errors
    /// [`PublishError`], which says whether anything was sent.
    pub async fn publish(&self, to: String, content: Content) -> Result<Published, PublishError> {
        Ok(self.inner.publish(UserId::parse(&to)?, content.parse()?).await?.into())
    }

    /// The same to the members of a channel. Whoever is none is refused.
    ///
    /// # Errors
    /// [`PublishError`], which says whether anything was sent.
    pub async fn publish_to_channel(
        &self,
        channel: String,
        content: Content,
    ) -> Result<Published, PublishError> {
        Ok(self.inner.publish(ChannelId::parse(&channel)?, content.parse()?).await?.into())
    }

    /// A page of the past, of the user's inbox or of a channel. `limit` 0 is as many as the back end likes to send; it may
    /// always send fewer than asked for.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn history(
        &self,
        conversation: Conversation,
        range: HistoryRange,
        limit: u32,
    ) -> Result<HistoryPage, RequestError> {
        let range = im_sdk::client::HistoryRange::from(range);
        Ok(self.inner.history(conversation.parse()?, range, limit).await?.into())
    }

    /// The same for messages of some kinds or of some time, or around a message.
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

    /// Looks for messages in all that the user may see and that the back ends keep for good, or in one conversation of it.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn search(&self, search: Search, limit: u32) -> Result<FoundPage, RequestError> {
        Ok(self.inner.search(search.parse()?, limit).await?.into())
    }

    /// Closes the client for good and waits until that is done, for some seconds at most.
    pub async fn close(&self) {
        self.inner.close().await;
    }
}
