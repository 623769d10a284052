//! The application on the device.

use super::*;

/// An application, with its state in memory and on its own disk.
#[derive(Clone, Default)]
pub(super) struct Application {
    /// The position in each log; `None` before its first reset.
    pub(super) at: BTreeMap<String, u64>,
    /// The ids of the entries of each log since its last reset.
    pub(super) ids: BTreeMap<String, BTreeMap<u64, u64>>,
    /// The acknowledged positions, which survive a crash.
    pub(super) settled: BTreeMap<String, Position>,
    /// The texts of the taken sends, by local id.
    pub(super) sent: BTreeMap<u64, u32>,
    pub(super) ended: BTreeSet<u64>,
    /// The sends whose outcome is unknown.
    pub(super) open: BTreeSet<u64>,
}

impl Application {
    pub(super) fn see(&mut self, event: &Event) {
        match event {
            Event::Message(message) => {
                let position = message.position.as_ref().unwrap();
                let at = self.at.get(position.log.as_str()).copied();
                let next = at.map_or(1, |seq| seq + 1);
                assert_eq!(position.seq, next, "{} stood at {at:?}", position.log);
                self.at.insert(position.log.as_str().to_owned(), next);
                let ids = self.ids.entry(position.log.as_str().to_owned()).or_default();
                ids.insert(next, message.id.as_u64());
            }
            Event::Reset { position, reason: ResetReason::Left } => {
                let was_at = self.at.remove(position.log.as_str());
                assert!(was_at.is_some(), "{} was left twice", position.log);
                self.settled.remove(position.log.as_str());
                self.ids.remove(position.log.as_str());
            }
            Event::Reset { position, .. } => {
                self.at.insert(position.log.as_str().to_owned(), position.seq);
                self.ids.remove(position.log.as_str());
            }
            Event::Published { local_id, .. } => _ = self.ended.insert(local_id.as_u64()),
            Event::PublishFailed { local_id, error, .. } => {
                assert_eq!(error.code(), "unconfirmed", "nothing is refused here");
                self.open.insert(local_id.as_u64());
            }
            _ => {}
        }
    }
}
