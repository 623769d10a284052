//! History and conversations of users, as a back end reads them.

use im_sdk::backend as sdk;

use super::{Backend, BackendError, run};
use crate::{
    Content, Conversation, ConversationChange, ConversationState, HistoryQuery, HistoryRange, Recalled,
    Recipient, Search, SearchPlace,
};

/// A message in a log.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct LoggedMessage {
    /// Its id, which contains the time of sending.
    pub id: u64,
    /// Its position in the log.
    pub seq: u64,
    /// The channel whose log it is in. None: the user's inbox.
    pub channel: Option<String>,
    /// The sender. None: the back end itself.
    pub from_user: Option<String>,
    /// The recipient, if the message was addressed to a single user.
    pub to_user: Option<String>,
    /// Its content.
    pub content: Content,
}

impl From<sdk::LoggedMessage> for LoggedMessage {
    fn from(message: sdk::LoggedMessage) -> Self {
        Self {
            id: message.message_id.as_u64(),
            seq: message.seq,
            channel: message.channel.map(|channel| channel.to_string()),
            from_user: message.from.map(|user| user.to_string()),
            to_user: message.to.map(|user| user.to_string()),
            content: message.content.into(),
        }
    }
}

/// A page of history.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct LoggedPage {
    /// The messages, in log order.
    pub messages: Vec<LoggedMessage>,
    /// Reactions to these messages, and pins of them.
    pub changes: Vec<LoggedMessage>,
    /// The start of the next page. None: this is the last one.
    pub next: Option<HistoryRange>,
}

impl From<sdk::HistoryPage> for LoggedPage {
    fn from(page: sdk::HistoryPage) -> Self {
        Self {
            messages: page.messages.into_iter().map(LoggedMessage::from).collect(),
            changes: page.changes.into_iter().map(LoggedMessage::from).collect(),
            next: page.next.map(Into::into),
        }
    }
}

/// Results of a search.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct FoundLoggedPage {
    /// The messages, newest first.
    pub messages: Vec<LoggedMessage>,
    /// The start of the next page. None: this is the last one.
    pub next: Option<SearchPlace>,
}

/// A conversation of a user.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct BackendConversation {
    /// The conversation, and the user's marks in it.
    pub state: ConversationState,
    /// The last message that the user may see.
    pub last: Option<LoggedMessage>,
    /// The id of the edit that `last` shows.
    pub last_edit: Option<u64>,
    /// The recall of `last`, if it was recalled.
    pub last_recalled: Option<Recalled>,
    /// The number of messages of others behind the read mark.
    pub unread: u32,
    /// The actual number may be higher.
    pub unread_more: bool,
    /// The number of those that mention the user.
    pub mentions: u32,
}

impl From<sdk::ListedConversation> for BackendConversation {
    fn from(listed: sdk::ListedConversation) -> Self {
        Self {
            state: listed.state.into(),
            last: listed.last.map(LoggedMessage::from),
            last_edit: listed.last_edit.map(|id| id.as_u64()),
            last_recalled: listed.last_recalled.map(Recalled::from),
            unread: listed.unread,
            unread_more: listed.unread_more,
            mentions: listed.mentions,
        }
    }
}

/// A page of a user's conversations.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct BackendConversationPage {
    /// Pinned ones first, then by their last messages, newest first.
    pub conversations: Vec<BackendConversation>,
    /// There are further conversations.
    pub more: bool,
    /// Unread messages in all conversations that are not muted.
    pub unread: u64,
    /// The actual number of unread messages may be higher.
    pub unread_more: bool,
}

/// Unread messages of a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, uniffi::Record)]
pub struct UnreadTotal {
    /// The number of messages.
    pub count: u64,
    /// The number of conversations that they are in.
    pub conversations: u64,
    /// The actual number may be higher.
    pub more: bool,
}

#[uniffi::export]
impl Backend {
    /// Reads a page of the history of a user's conversation, as the user sees it.
    ///
    /// # Errors
    /// [`BackendError`], here and below.
    pub async fn history(
        &self,
        user: String,
        conversation: Conversation,
        query: HistoryQuery,
        limit: u32,
    ) -> Result<LoggedPage, BackendError> {
        let (im, conversation, query) = (self.im()?, conversation.parse()?, query.parse()?);
        run(async move { Ok(im.history(user, conversation, query, limit as usize).await?.into()) }).await
    }

    /// Reads a page of raw log entries.
    pub async fn raw_history(
        &self,
        user: String,
        conversation: Conversation,
        query: HistoryQuery,
        limit: u32,
    ) -> Result<LoggedPage, BackendError> {
        let (im, conversation, query) = (self.im()?, conversation.parse()?, query.parse()?);
        run(async move { Ok(im.raw_history(user, conversation, query, limit as usize).await?.into()) }).await
    }

    /// Searches all messages that a user may see.
    pub async fn search(
        &self,
        user: String,
        search: Search,
        limit: u32,
    ) -> Result<FoundLoggedPage, BackendError> {
        let (im, search) = (self.im()?, search.parse()?);
        run(async move {
            let page = im.search(user, &search, limit as usize).await?;
            let next = page.next.map(SearchPlace::from);
            Ok(FoundLoggedPage {
                messages: page.messages.into_iter().map(LoggedMessage::from).collect(),
                next,
            })
        })
        .await
    }

    /// Looks a message up by its id in the message store.
    pub async fn message(&self, message_id: u64) -> Result<LoggedMessage, BackendError> {
        let (im, id) = (self.im()?, crate::content::message_id(message_id)?);
        run(async move { Ok(im.message(id).await?.into()) }).await
    }

    /// Returns a message of a user's conversation.
    pub async fn message_in(
        &self,
        user: String,
        conversation: Recipient,
        message_id: u64,
    ) -> Result<LoggedMessage, BackendError> {
        let (im, conversation) = (self.im()?, conversation.parse()?);
        let id = crate::content::message_id(message_id)?;
        run(async move { Ok(im.message_in(user, conversation, id).await?.into()) }).await
    }

    /// Reads a page of a user's conversations.
    pub async fn conversations(
        &self,
        user: String,
        skip: u32,
        limit: u32,
    ) -> Result<BackendConversationPage, BackendError> {
        let im = self.im()?;
        run(async move {
            let page = im.conversations(user, skip as usize, limit as usize).await?;
            Ok(BackendConversationPage {
                conversations: page.conversations.into_iter().map(BackendConversation::from).collect(),
                more: page.more,
                unread: page.unread,
                unread_more: page.unread_more,
            })
        })
        .await
    }

    /// Returns a conversation of a user, if there is one.
    pub async fn conversation(
        &self,
        user: String,
        conversation: Recipient,
    ) -> Result<Option<BackendConversation>, BackendError> {
        let (im, conversation) = (self.im()?, conversation.parse()?);
        run(async move { Ok(im.conversation(user, conversation).await?.map(BackendConversation::from)) })
            .await
    }

    /// Sets marks in a user's conversation.
    pub async fn set_conversation(
        &self,
        user: String,
        conversation: Recipient,
        change: ConversationChange,
    ) -> Result<ConversationState, BackendError> {
        let (im, conversation) = (self.im()?, conversation.parse()?);
        run(async move { Ok(im.set_conversation(user, conversation, change.parse()).await?.into()) }).await
    }

    /// Counts a user's unread messages.
    pub async fn unread(&self, user: String) -> Result<UnreadTotal, BackendError> {
        let im = self.im()?;
        run(async move {
            let total = im.unread(user).await?;
            Ok(UnreadTotal { count: total.count, conversations: total.conversations, more: total.more })
        })
        .await
    }
}
