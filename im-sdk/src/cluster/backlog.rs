//! A queue of a subscription, bounded in messages and in bytes.

use std::collections::VecDeque;

/// The number of payload bytes that a subscription queues before the bus drops the oldest messages
/// and reports [`Disruption::Overflow`](super::Disruption::Overflow). A message can have a
/// megabyte, so a limit on their number alone bounds nothing.
pub const SUBSCRIPTION_BYTES: usize = 64 * 1024 * 1024;

/// The size of a queued message beside its payload.
const ENTRY_OVERHEAD: usize = 256;

/// Messages in order. When full, it drops the oldest: their senders have waited longest, and repeat
/// them or are repaired anyway, so that a backlog shrinks by itself.
#[derive(Debug)]
pub(in crate::cluster) struct Backlog<T> {
    messages: VecDeque<(T, usize)>,
    bytes: usize,
    /// The maximum number of messages.
    capacity: usize,
}

impl<T> Backlog<T> {
    pub(in crate::cluster) fn new(capacity: usize) -> Self {
        Self { messages: VecDeque::new(), bytes: 0, capacity }
    }

    /// Adds a message with a payload of this size. Returns `false` if others had to be dropped for
    /// it.
    pub(in crate::cluster) fn push(&mut self, message: T, payload: usize) -> bool {
        let size = payload + ENTRY_OVERHEAD;
        self.bytes += size;
        self.messages.push_back((message, size));
        let mut fits = true;
        while (self.bytes > SUBSCRIPTION_BYTES || self.messages.len() > self.capacity)
            && self.messages.len() > 1
        {
            self.pop();
            fits = false;
        }
        fits
    }

    /// Removes the oldest message.
    pub(in crate::cluster) fn pop(&mut self) -> Option<T> {
        let (message, size) = self.messages.pop_front()?;
        self.bytes -= size;
        if self.messages.is_empty() {
            // A backlog is rare, so its memory is released.
            self.messages = VecDeque::new();
        }
        Some(message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_go_when_the_bytes_are_used_up() {
        let mut backlog = Backlog::new(100);
        let megabyte = 1024 * 1024 - ENTRY_OVERHEAD;
        assert!((0..64).all(|number| backlog.push(number, megabyte)));
        assert!(!backlog.push(64, megabyte), "there is no room");
        assert_eq!(backlog.pop(), Some(1));
        assert!(backlog.push(65, megabyte), "there is again");
        assert!(!backlog.push(66, 10 * megabyte));
        assert_eq!(backlog.pop(), Some(12));
        while backlog.pop().is_some() {}
        assert!(backlog.messages.is_empty() && backlog.bytes == 0);
        assert!(backlog.push(1, 2 * SUBSCRIPTION_BYTES), "a single one is never too large");
    }

    #[test]
    fn the_oldest_go_when_there_are_too_many() {
        let mut backlog = Backlog::new(100);
        assert!((0..100).all(|number| backlog.push(number, 0)));
        assert!(!backlog.push(100, 0));
        assert_eq!(backlog.pop(), Some(1));
    }
}
