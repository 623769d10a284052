//! Parsing of lists and states.

use crate::{
    ConversationState,
    client::{ConversationPage, ListedConversation, core::Core},
    conversation::message::recalled,
    id::{InvalidId, MessageId},
    proto::pb,
};

impl<T> Core<T> {
    pub(in crate::client::core) fn states(
        &mut self,
        states: Vec<pb::ConversationState>,
    ) -> Vec<ConversationState> {
        let mut valid = Vec::with_capacity(states.len());
        for state in states {
            match state.try_into() {
                Ok(state) => valid.push(state),
                Err(error) => {
                    let error: InvalidId = error;
                    self.skip(&error.to_string());
                }
            }
        }
        valid
    }

    pub(in crate::client::core) fn conversation_page(&mut self, list: pb::Conversations) -> ConversationPage {
        let (mut conversations, mut hidden) = (Vec::with_capacity(list.conversations.len()), Vec::new());
        for listed in list.conversations {
            match self.conversation(listed) {
                Ok(Some(listed)) if listed.is_listed() => conversations.push(listed),
                Ok(listed) => hidden.extend(listed),
                Err(error) => self.skip(&error.to_string()),
            }
        }
        ConversationPage {
            conversations,
            hidden,
            more: list.more,
            unread: list.unread,
            unread_more: list.unread_more,
            version: list.version,
            inbox_end: list.inbox_end,
        }
    }

    /// Parses a conversation; `None` if it has no state.
    fn conversation(&self, listed: pb::Conversation) -> Result<Option<ListedConversation>, InvalidId> {
        let Some(state) = listed.state else { return Ok(None) };
        let last = listed.last.map(|last| self.entry(last)).transpose()?.flatten();
        Ok(Some(ListedConversation {
            state: state.try_into()?,
            last,
            last_edit: MessageId::from_u64(listed.last_edit),
            last_recalled: listed.last_recall.as_ref().and_then(recalled),
            end: listed.end,
            unread: listed.unread,
            unread_more: listed.unread_more,
            unread_seqs: listed.unread_seqs,
            unread_ids: listed.unread_ids.into_iter().filter_map(MessageId::from_u64).collect(),
            // A backend of an earlier version counts only the listed ones.
            mentions: listed.mentions.max(u32::try_from(listed.mention_seqs.len()).unwrap_or(u32::MAX)),
            mention_seqs: listed.mention_seqs,
        }))
    }
}
