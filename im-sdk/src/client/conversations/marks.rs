//! Limits and errors of marks.

use crate::MAX_DRAFT_BYTES;

/// The most conversations with marks that no backend has taken yet.
pub const MAX_CONVERSATION_MARKS: usize = 1024;

/// A mark was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MarkError {
    /// The draft is longer than [`MAX_DRAFT_BYTES`].
    #[error("the draft takes {bytes} bytes, more than the {MAX_DRAFT_BYTES} that are kept")]
    DraftTooLong {
        /// Its size.
        bytes: usize,
    },
    /// [`MAX_CONVERSATION_MARKS`] conversations have marks already that no backend has taken.
    #[error("something was set in too many conversations, and no back end has taken it yet")]
    QueueFull,
    /// The client is closed.
    #[error("the client is closed")]
    Closed,
}

impl MarkError {
    /// Returns a name that stays the same over versions and languages, such as `queue_full`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::DraftTooLong { .. } => "draft_too_long",
            Self::QueueFull => "queue_full",
            Self::Closed => "closed",
        }
    }
}
