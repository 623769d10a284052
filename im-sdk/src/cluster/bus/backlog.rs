//! What waits in one subscription: bounded in messages and in bytes.

use std::collections::VecDeque;

/// How many bytes wait in one subscription before the bus drops the oldest messages and says so
/// ([`super::Disruption::Overflow`]). A message can have a megabyte: their number alone bounds nothing.
pub const SUBSCRIPTION_BYTES: usize = 64 * 1024 * 1024;

/// What a message takes beside its payload.
const OVERHEAD: usize = 256;

/// Messages in their order. The oldest are dropped: whoever sent them has waited for the longest time, and asks again or
/// is repaired anyway, so that a backlog ends by itself.
#[derive(Debug)]
pub(super) struct Backlog<T> {
    messages: VecDeque<(T, usize)>,
    bytes: usize,
    /// How many messages it holds.
    capacity: usize,
}

impl<T> Backlog<T> {
    pub(super) fn new(capacity: usize) -> Self {
        Self { messages: VecDeque::new(), bytes: 0, capacity }
    }

    /// Adds a message with a payload of so many bytes. Returns `false` if others had to be dropped for it.
    pub(super) fn push(&mut self, message: T, payload: usize) -> bool {
        let size = payload + OVERHEAD;
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

    /// The oldest message.
    pub(super) fn pop(&mut self) -> Option<T> {
        let (message, size) = self.messages.pop_front()?;
        self.bytes -= size;
        if self.messages.is_empty() {
            // A backlog is rare: its room is not kept.
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
        let megabyte = 1024 * 1024 - OVERHEAD;
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
