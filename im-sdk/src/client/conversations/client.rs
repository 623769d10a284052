//! Requests and marks of conversations.

use tokio::sync::oneshot;

use super::{ConversationList, ConversationPage, MarkError, Readers};
use crate::{
    ConversationChange, ReadMark, Recipient,
    client::{Client, Position, RequestError, core::Reply, driver::Command},
    id::{ChannelId, InvalidId},
    proto::pb,
};

impl Client {
    /// Lists the user's conversations from `skip` on: pinned ones first, then by their last messages. `limit` 0 is as many as the
    /// back end likes to send; it may always send fewer than asked for. From here on, what is set in them on other devices
    /// comes reliably as [`Event::ConversationsChanged`](crate::client::Event::ConversationsChanged); a
    /// [`ConversationList`](super::ConversationList) keeps the list up
    /// to date with it.
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

    /// Loads all pages of a list that [needs it](super::ConversationList::needs_loading). Events that come meanwhile are applied to the list
    /// afterwards, as ever.
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
            // A back end that has something more to tell tells it.
            let is_last = !page.more || page.count() == 0;
            skip += page.count();
            list.load(ConversationPage { more: !is_last, ..page });
            if is_last {
                return Ok(());
            }
        }
    }

    /// Tells who has read a message of a channel, by its place: how many, and up to `limit` names. In a conversation with a user,
    /// [`ConversationState::peer_read`](crate::ConversationState::peer_read) tells.
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

    /// Marks everything in a conversation as read up to a position, as it came with its last message. Returns when the mark is
    /// taken, which is at once.
    ///
    /// Marks are cumulative, and never go back. Marks that follow each other closely travel as one, and until it is answered
    /// it is sent again, over any number of connections, but not by another process.
    /// [`Event::ConversationsChanged`](crate::client::Event::ConversationsChanged) tells
    /// when it stands.
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
