//! A log that measures how much is read, for tests of the cost of requests.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use prost::Message as _;

use super::hooked_log::{HookedLog, LogHooks};
use crate::{
    cluster::{Appended, Cluster, LogBounds, LogId, LogStore, NewEntry, Page},
    content::Content,
    id::{MessageId, UserId},
    proto::pb,
};

/// A log in memory that measures its pages.
pub(in crate::backend) type MeteredLog = HookedLog<Meters>;

#[derive(Debug, Default)]
pub(in crate::backend) struct Meters {
    bytes: AtomicUsize,
    largest: AtomicUsize,
}

/// A measurement.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::backend) struct Meter {
    /// The bytes of payloads in all pages.
    pub(in crate::backend) bytes: usize,
    /// The bytes of payloads in the largest page.
    pub(in crate::backend) largest: usize,
}

impl MeteredLog {
    /// Creates a log without a limit of bytes, which can hold more than a request may read.
    pub(in crate::backend) fn unbounded() -> (Arc<Self>, Cluster) {
        Self::cluster(LogBounds { max_bytes: 1 << 30, ..LogBounds::default() }, Meters::default())
    }

    /// Returns the measurement since the last call.
    pub(in crate::backend) fn take(&self) -> Meter {
        let take = |counter: &AtomicUsize| counter.swap(0, Ordering::Relaxed);
        Meter { bytes: take(&self.hooks.bytes), largest: take(&self.hooks.largest) }
    }

    /// Appends a text to an inbox.
    pub(in crate::backend) async fn say(&self, owner: &str, from: &str, id: u64, bytes: usize) -> Appended {
        self.say_as(owner, from, id, Content::text("x".repeat(bytes))).await
    }

    pub(in crate::backend) async fn say_as(
        &self,
        owner: &str,
        from: &str,
        id: u64,
        content: Content,
    ) -> Appended {
        let message = pb::Message {
            id,
            from: from.into(),
            to: owner.into(),
            content: Some(content.into()),
            ..Default::default()
        };
        let entry = NewEntry::new(MessageId::from_u64(id).unwrap(), message.encode_to_vec().into());
        let owner: UserId = owner.parse().unwrap();
        self.log.append(&LogId::Inbox(owner), entry).await.unwrap()
    }
}

impl LogHooks for Meters {
    fn on_page(&self, page: &Page) {
        let bytes = page.entries.iter().map(|entry| entry.payload.len()).sum();
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.largest.fetch_max(bytes, Ordering::Relaxed);
    }
}
