//! Conversations as a device sees them.

mod catch_up;
mod item;
mod list;
mod marks;
mod page;
mod readers;

pub use self::{
    list::{ConversationList, Unread},
    marks::{MAX_CONVERSATION_MARKS, MarkError},
    page::{ConversationPage, ListedConversation},
    readers::{ReadReceipt, Readers},
};
