//! Publishes that a device repeats unknowingly, from an old copy of its store.

use prost::Message as _;

use super::{budget::Resource, change::IncomingChange, context::ServiceContext, logged_publish::Publishing};
use crate::{
    Recipient, cluster::ReadLimit, content::Content, id::MessageId, log_throttle::throttled, proto::pb,
};

/// The number of newest entries in which a repeated message is looked for. A restored device
/// repeats what it had just sent when the copy was made.
const MAX_ENTRIES: usize = 512;
const MAX_BYTES: usize = 512 * 1024;

impl ServiceContext {
    /// Finds the message of a publish whose number was used for a later one: a message of the user
    /// among the newest entries of the log, with the same origin, receiver and content. The origin
    /// alone is no proof: a device whose count of numbers went back may have used it twice.
    ///
    /// The bytes read count as a sync, so that refused publishes cannot cause unlimited reads.
    pub(super) async fn find_published(&self, of: &Publishing, content: &Content) -> Option<MessageId> {
        let Publishing { from, to, origin, .. } = of;
        if *origin == 0 || self.budgets.take(from, [(Resource::SyncBytes, 1)]).is_err() {
            return None;
        }
        let log = IncomingChange::log(from, to);
        let limit = ReadLimit::new(MAX_ENTRIES).with_bytes(MAX_BYTES);
        let page = match self.cluster.log().read_back(&log, None, limit).await {
            Ok(page) => page,
            Err(error) => {
                throttled!(warn, %from, %error, "cannot look up a repeated publish");
                return None;
            }
        };
        let bytes = page.entries.iter().map(|entry| entry.payload.len() as u64).sum();
        self.budgets.charge(from, Resource::SyncBytes, bytes);
        let is_it = |message: pb::Message| {
            let receiver = match to {
                Recipient::User(user) => user.as_str(),
                Recipient::Channel(_) => "",
            };
            message.origin == *origin
                && message.from == from.as_str()
                && message.to == receiver
                && Content::from(message.content) == *content
        };
        let found = page
            .entries
            .into_iter()
            .find(|entry| pb::Message::decode(entry.payload.clone()).is_ok_and(is_it));
        found.map(|entry| entry.message_id)
    }
}
