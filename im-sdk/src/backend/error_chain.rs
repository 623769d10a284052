//! Displays an error with its causes as one text.

use std::{
    error::Error,
    fmt::{self, Display, Formatter},
};

/// Displays an error and its sources, each once: `not appended: Redis: connection refused`.
///
/// An error that prints its cause this way must not have it as [`Error::source`] as well: code that
/// walks the sources would print it twice.
pub(super) fn chain(error: &(impl Error + 'static)) -> Chain<'_> {
    Chain(error)
}

/// See [`chain`].
pub(super) struct Chain<'a>(&'a (dyn Error + 'static));

impl Display for Chain<'_> {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        let mut said = self.0.to_string();
        formatter.write_str(&said)?;
        let mut source = self.0.source();
        while let Some(error) = source {
            let text = error.to_string();
            // The error has its cause in its own text.
            if !said.contains(&text) {
                write!(formatter, ": {text}")?;
                said = text;
            }
            source = error.source();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::{io, sync::Arc};

    use super::*;
    use crate::{
        backend::{
            AmendError, ChannelError, ConversationError, HistoryError, InvalidContent, InvalidMessage,
            SearchError, SendError, StartError, message_store::MessageStoreError,
        },
        cluster::{ArchiveError, LogError, LogId, RoutesError},
        id::MessageId,
    };

    #[derive(Debug, thiserror::Error)]
    #[error("outer")]
    struct Outer(#[source] io::Error);

    #[derive(Debug, thiserror::Error)]
    #[error("outer: {0}")]
    struct Prints(#[source] io::Error);

    #[test]
    fn each_cause_is_said_once() {
        let inner = || io::Error::other("inner");
        assert_eq!(chain(&Outer(inner())).to_string(), "outer: inner");
        assert_eq!(chain(&Prints(inner())).to_string(), "outer: inner");
    }

    /// Walks an error and its sources, as `anyhow` does to print `{:#}`.
    fn assert_said_once(error: &(dyn Error + 'static)) {
        let mut said = vec![error.to_string()];
        let mut source = error.source();
        while let Some(error) = source {
            let text = error.to_string();
            assert!(!said.iter().any(|outer| outer.contains(&text)), "{text:?} is in {said:?} already");
            said.push(text);
            source = error.source();
        }
    }

    #[test]
    fn no_error_of_a_back_end_has_its_cause_in_its_text_and_as_source() {
        let id = MessageId::from_u64(7).unwrap();
        let invalid = || "no user".parse::<crate::id::UserId>().unwrap_err();
        let unlogged = || LogError::Stale { last: 9 };
        let unstored = || MessageStoreError::unavailable("write", io::Error::other("the disk is full"));
        let unrouted = || RoutesError::Malformed { what: "route", text: "?".to_owned() };
        let log = LogId::Inbox("bob".parse().unwrap());
        let errors: [Box<dyn Error>; 14] = [
            Box::new(SendError::NotLogged { log, cause: unlogged() }),
            Box::new(SendError::NotArchived { message_id: id, cause: ArchiveError::Full }),
            Box::new(SendError::NotAmended { message_id: id, cause: AmendError::Log(unlogged()) }),
            Box::new(SendError::NotLookedUp(Arc::new(HistoryError::Log(unlogged())))),
            Box::new(SendError::Invalid(InvalidMessage::NoContent)),
            Box::new(SendError::Invalid(InvalidMessage::User(invalid()))),
            Box::new(SendError::Invalid(InvalidMessage::Content(InvalidContent::InvalidId(invalid())))),
            Box::new(SendError::Routes(unrouted())),
            Box::new(HistoryError::Store(unstored())),
            Box::new(AmendError::Store(unstored())),
            Box::new(ConversationError::History(HistoryError::Store(unstored()))),
            Box::new(ChannelError::Routes(unrouted())),
            Box::new(SearchError::Store(unstored())),
            Box::new(StartError::SystemUser(invalid())),
        ];
        for error in errors {
            assert_said_once(&*error);
        }
    }
}
