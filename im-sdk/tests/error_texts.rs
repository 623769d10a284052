//! An error of the cluster tells its cause once: in its text, or as its source, never both.
#![cfg(feature = "backend")]
#![allow(missing_docs, clippy::unwrap_used)]

use std::{error::Error, io, sync::Arc};

use im_sdk::cluster::{
    ArchiveError, BusError, ConnectError, ConversationsError, LastSeenError, LogError, MembersError,
    OpenLogError, RoutesError,
};

fn cause() -> io::Error {
    io::Error::other("the very cause")
}

fn boxed() -> Box<dyn Error + Send + Sync> {
    cause().into()
}

fn errors() -> Vec<Box<dyn Error>> {
    let (action, address, path) = ("do it", "127.0.0.1:1".to_owned(), std::path::PathBuf::from("logs"));
    vec![
        Box::new(LogError::NotAppended { source: Arc::new(cause()) }),
        Box::new(LogError::OutcomeUnknown { source: Arc::new(cause()) }),
        Box::new(LogError::Unavailable { action, source: Arc::new(cause()) }),
        Box::new(ArchiveError::unknown(cause())),
        Box::new(ArchiveError::unavailable(action, cause())),
        Box::new(RoutesError::Unavailable { action, source: boxed() }),
        Box::new(BusError::Failed { action, source: boxed() }),
        Box::new(MembersError::new(action, cause())),
        Box::new(ConversationsError::new(action, cause())),
        Box::new(LastSeenError::new(action, cause())),
        Box::new(ConnectError::Unreachable { service: "Redis", address, source: boxed() }),
        Box::new(ConnectError::Archive { stream: "archive".into(), source: boxed() }),
        Box::new(OpenLogError::Inaccessible { path: path.clone(), source: cause() }),
        Box::new(OpenLogError::Unreadable { path, source: boxed() }),
    ]
}

/// Returns the text of an error with those of its sources, as a reporter prints them.
fn report(error: &dyn Error) -> String {
    let sources = std::iter::successors(error.source(), |error| (*error).source());
    sources.fold(error.to_string(), |report, source| format!("{report}: {source}"))
}

#[test]
fn a_report_of_an_error_tells_its_cause_once() {
    for error in errors() {
        let report = report(&*error);
        assert_eq!(report.matches("the very cause").count(), 1, "{report}");
    }
}
