//! A queue that is bounded in items and in the bytes that they hold. Senders never wait.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use tokio::sync::mpsc;

/// The capacity of a queue.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Capacity {
    pub(crate) items: usize,
    pub(crate) bytes: usize,
}

/// The approximate number of bytes in one bus message. The default limit of NATS is 1 MiB.
const BATCH_BYTES: usize = 256 * 1024;

/// Creates a queue.
pub(crate) fn channel<T>(capacity: Capacity) -> (Sender<T>, Receiver<T>) {
    let (sender, receiver) = mpsc::channel(capacity.items);
    let queued = Arc::new(AtomicUsize::new(0));
    let sender = Sender { queue: sender, queued: Arc::clone(&queued), bytes: capacity.bytes };
    (sender, Receiver { queue: receiver, queued })
}

/// The sending end of a queue.
#[derive(Debug)]
pub(crate) struct Sender<T> {
    queue: mpsc::Sender<(T, usize)>,
    /// The number of bytes in the queue.
    queued: Arc<AtomicUsize>,
    bytes: usize,
}

/// The receiving end of a queue.
#[derive(Debug)]
pub(crate) struct Receiver<T> {
    queue: mpsc::Receiver<(T, usize)>,
    queued: Arc<AtomicUsize>,
}

/// Room for one item. Dropping it unused frees the room.
#[derive(Debug)]
pub(crate) struct Permit<'a, T> {
    permit: Option<mpsc::Permit<'a, (T, usize)>>,
    bytes: usize,
    queued: &'a AtomicUsize,
}

impl<T> Sender<T> {
    /// Reserves room for an item of this size. Returns `None` if the queue is full, or the receiver is gone.
    pub(crate) fn try_reserve(&self, bytes: usize) -> Option<Permit<'_, T>> {
        let permit = self.queue.try_reserve().ok()?;
        let add = |queued: usize| queued.checked_add(bytes).filter(|sum| *sum <= self.bytes);
        self.queued.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add).ok()?;
        Some(Permit { permit: Some(permit), bytes, queued: &self.queued })
    }

    /// Queues an item. Returns `false` if there was no room and the item was dropped.
    pub(crate) fn try_send(&self, item: T, bytes: usize) -> bool {
        self.try_reserve(bytes).map(|permit| permit.send(item)).is_some()
    }
}

impl<T> Permit<'_, T> {
    pub(crate) fn send(mut self, item: T) {
        if let Some(permit) = self.permit.take() {
            permit.send((item, self.bytes));
        }
    }
}

impl<T> Drop for Permit<'_, T> {
    fn drop(&mut self) {
        if self.permit.is_some() {
            self.queued.fetch_sub(self.bytes, Ordering::Relaxed);
        }
    }
}

impl<T> Receiver<T> {
    /// Moves queued items into `batch`: at least one, at most `max`, and as many as fit into one bus message.
    ///
    /// Returns `false` once the queue is empty and every sender is gone.
    pub(crate) async fn recv_batch(&mut self, batch: &mut Vec<T>, max: usize) -> bool {
        let Some((first, mut bytes)) = self.queue.recv().await else { return false };
        batch.push(first);
        while batch.len() < max
            && bytes < BATCH_BYTES
            && let Ok((next, of_next)) = self.queue.try_recv()
        {
            bytes += of_next;
            batch.push(next);
        }
        self.queued.fetch_sub(bytes, Ordering::Relaxed);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn take<T>(receiver: &mut Receiver<T>, max: usize) -> Vec<T> {
        let mut batch = Vec::new();
        assert!(receiver.recv_batch(&mut batch, max).await);
        batch
    }

    #[tokio::test]
    async fn both_bounds_hold() {
        let (sender, mut receiver) = channel(Capacity { items: 3, bytes: 100 });
        assert!(sender.try_send(1, 60));
        assert!(!sender.try_send(2, 41), "too many bytes");
        assert!(sender.try_send(3, 40) && sender.try_send(4, 0));
        assert!(!sender.try_send(5, 0), "too many items");
        assert_eq!((take(&mut receiver, 1).await, take(&mut receiver, 1).await), (vec![1], vec![3]));
        assert!(sender.try_send(6, 100), "what left is free again");
        assert!(!sender.try_send(7, usize::MAX));
        assert_eq!(take(&mut receiver, 512).await, [4, 6]);
        assert!(sender.try_send(8, 100), "of a batch, too");
        drop(sender);
        assert_eq!(take(&mut receiver, 512).await, [8]);
        assert!(!receiver.recv_batch(&mut Vec::new(), 512).await, "every sender is gone");
        assert!(!receiver.recv_batch(&mut Vec::new(), 1).await);
    }

    #[tokio::test]
    async fn a_batch_ends_where_a_message_is_full() {
        let (sender, mut receiver) = channel(Capacity { items: 2000, bytes: 10 * BATCH_BYTES });
        for item in 0..512 + 1 {
            assert!(sender.try_send(item, 1));
        }
        for item in 0..3 {
            assert!(sender.try_send(item, BATCH_BYTES / 2));
        }
        assert_eq!(take(&mut receiver, 512).await.len(), 512);
        assert_eq!(take(&mut receiver, 512).await, [512, 0, 1]);
        assert_eq!(take(&mut receiver, 512).await, [2]);
    }

    #[test]
    fn an_unused_permit_is_free_again() {
        let (sender, _receiver) = channel::<()>(Capacity { items: 1, bytes: 10 });
        drop(sender.try_reserve(10).unwrap());
        assert!(sender.try_reserve(10).is_some());
    }
}
