//! Requests and marks of conversations.

use tokio::sync::oneshot;

use super::Client;
use crate::{
    ConversationChange, ReadMark, Recipient,
    client::{
        ConversationList, ConversationPage, MarkError, Position, Readers, RequestError, core::Reply,
        driver::Command,
    },
    id::{ChannelId, InvalidId},
    proto::pb,
};

impl Client {
    /// Lists the user's conversations from `skip` on: pinned ones first, then by their last messages. `limit` 0 leaves the number
    /// to the backend, which may always send fewer than requested. From then on, changes of them on other devices come reliably
    /// as [`Event::ConversationsChanged`](crate::client::Event::ConversationsChanged), by which a
    /// [`ConversationList`](crate::client::ConversationList) keeps the list up to date.
    ///
    /// ```no_run
    /// # async fn example(client: im_sdk::client::Client) -> Result<(), im_sdk::client::RequestError> {
    /// let page = client.conversations(0, 20).await?;
    /// for listed in &page.conversations {
    ///     println!("{}: {} unread", listed.state.conversation, listed.unread);
    /// }
    /// # Ok(())
    /// # }
    /// ```
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

    /// Loads all pages of a list that [needs it](crate::client::ConversationList::needs_loading). Apply the events that come meanwhile to
    /// the list afterwards, as always.
    ///
    /// ```no_run
    /// # async fn example(client: im_sdk::client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// use im_sdk::{client::ConversationList, id::UserId};
    ///
    /// let mut list = ConversationList::new(UserId::parse("alice")?);
    /// client.load(&mut list).await?;
    /// println!("{} unread", list.unread().count);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`RequestError`]: the list still needs loading.
    pub async fn load(&self, list: &mut ConversationList) -> Result<(), RequestError> {
        list.begin_loading();
        let mut skip = 0;
        loop {
            let page = self.conversations(skip, 0).await?;
            // A backend with more conversations does not send an empty page.
            let is_last = !page.more || page.count() == 0;
            skip += page.count();
            list.load(ConversationPage { more: !is_last, ..page });
            if is_last {
                return Ok(());
            }
        }
    }

    /// Returns the readers of a message in a channel, by its seq: their number, and up to `limit` names. In a conversation with a
    /// user, see [`ConversationState::peer_read`](crate::ConversationState::peer_read).
    ///
    /// ```no_run
    /// # async fn example(client: im_sdk::client::Client) -> Result<(), im_sdk::client::RequestError> {
    /// let readers = client.readers("team", 42, 10).await?;
    /// println!("read by {}, among them {:?}", readers.count, readers.users);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn readers(
        &self,
        channel: impl TryInto<ChannelId, Error = impl Into<InvalidId>>,
        seq: u64,
        limit: u32,
    ) -> Result<Readers, RequestError> {
        let channel: ChannelId = channel.try_into().map_err(Into::into)?;
        let asked = pb::ReadersRequest { channel: channel.to_string(), seq, limit };
        let question = pb::request::Question::Readers(asked);
        match self.ask(|answer| Command::Ask { question, answer }).await? {
            Reply::Readers(readers) => Ok(readers),
            _ => Err(RequestError::Closed),
        }
    }

    /// Marks a conversation as read up to a position, which came with its last message. Returns when the client has the mark,
    /// which is at once.
    ///
    /// Marks are cumulative, and never go back. Marks in quick succession travel as one. A mark is sent again until it is
    /// answered, over any number of connections, and by the next process if the store outlives this one.
    /// [`Event::ConversationsChanged`](crate::client::Event::ConversationsChanged) reports that it was set.
    ///
    /// ```no_run
    /// # use im_sdk::client::{Client, ReceivedMessage};
    /// # async fn example(client: Client, message: ReceivedMessage) -> Result<(), Box<dyn std::error::Error>> {
    /// if let (Some(from), Some(position)) = (&message.from, &message.position) {
    ///     client.mark_read(from, position).await?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
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
    /// ```no_run
    /// # async fn example(client: im_sdk::client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// use im_sdk::{ConversationChange, Recipient};
    /// client.set_conversation(Recipient::channel("team")?, ConversationChange::new().mute(true)).await?;
    /// # Ok(())
    /// # }
    /// ```
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
}
