//! Pages of the list of conversations.

use crate::{ConversationState, client::ReceivedMessage, id::MessageId, timeline::Recalled};

/// A page of the user's conversations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConversationPage {
    /// The conversations: pinned ones first, then by their last messages, newest first.
    pub conversations: Vec<ListedConversation>,
    /// Hidden or deleted conversations, on the last pages. A [`ConversationList`](crate::client::ConversationList) needs them, since a message may bring them
    /// back.
    pub hidden: Vec<ListedConversation>,
    /// More conversations follow.
    pub more: bool,
    /// The number of unread messages in all conversations that are not muted, including those beyond the
    /// page.
    pub unread: u64,
    /// There may be more unread messages than that.
    pub unread_more: bool,
    /// The version of the user's last change that is included.
    pub version: u64,
    /// The end of the inbox when the page was made.
    pub inbox_end: u64,
}

impl ConversationPage {
    /// Returns the number of conversations on the page, by which to increase `skip` for the next one.
    pub fn count(&self) -> u32 {
        u32::try_from(self.conversations.len() + self.hidden.len()).unwrap_or(u32::MAX)
    }
}

/// A conversation in the list.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ListedConversation {
    /// The conversation, and the user's marks in it.
    pub state: ConversationState,
    /// The last message that the user may see, with the content of its last edit. A recalled message stays, without
    /// content. A message that the user has deleted gives way to the one before it.
    pub last: Option<ReceivedMessage>,
    /// The last edit of that message. `None` if it was never edited.
    pub last_edit: Option<MessageId>,
    /// The recall of that message. `None` if it was not recalled.
    pub last_recalled: Option<Recalled>,
    /// The end of the log for which this holds.
    pub end: u64,
    /// The number of messages of others that the user has not read. With `unread_more`, there may be more.
    pub unread: u32,
    /// There may be more unread messages than that.
    pub unread_more: bool,
    /// The seqs of the newest unread messages, in ascending order.
    pub unread_seqs: Vec<u64>,
    /// The ids of these messages, one for each seq.
    pub unread_ids: Vec<MessageId>,
    /// The seqs of those that mention the user.
    pub mention_seqs: Vec<u64>,
    /// The number of unread messages that mention the user, with known seqs or not.
    pub mentions: u32,
}

impl ListedConversation {
    /// Returns `true` if it is neither hidden nor deleted, or has come back since.
    pub fn is_listed(&self) -> bool {
        self.state
            .is_listed(self.last.as_ref().and_then(|last| last.position.as_ref()).map_or(0, |at| at.seq))
    }
}
