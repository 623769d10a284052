//! A queue that is bounded twice: in items, and in the bytes that they hold. Whoever puts something in never waits.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use tokio::sync::mpsc;

/// How much a queue takes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) items: usize,
    pub(crate) bytes: usize,
}

/// What goes onto the bus as one message: so many items, or roughly so many bytes (NATS takes 1 MiB by default).
const BATCH: Bounds = Bounds { items: 512, bytes: 256 * 1024 };

/// A new queue.
pub(crate) fn channel<T>(bounds: Bounds) -> (Sender<T>, Receiver<T>) {
    let (sender, receiver) = mpsc::channel(bounds.items);
    let waiting = Arc::new(AtomicUsize::new(0));
    let sender = Sender { queue: sender, waiting: Arc::clone(&waiting), bytes: bounds.bytes };
    (sender, Receiver { queue: receiver, waiting })
}

/// Where things go in.
#[derive(Debug)]
pub(crate) struct Sender<T> {
    queue: mpsc::Sender<(T, usize)>,
    /// Bytes in the queue.
    waiting: Arc<AtomicUsize>,
    bytes: usize,
}

/// Where things come out.
#[derive(Debug)]
pub(crate) struct Receiver<T> {
    queue: mpsc::Receiver<(T, usize)>,
    waiting: Arc<AtomicUsize>,
}

/// A place in a queue. Dropped, it is free again.
#[derive(Debug)]
pub(crate) struct Place<'a, T> {
    permit: Option<mpsc::Permit<'a, (T, usize)>>,
    bytes: usize,
    waiting: &'a AtomicUsize,
}

impl<T> Sender<T> {
    /// A place for something of this size. `None`: the queue is full, or nobody reads it any more.
    pub(crate) fn try_reserve(&self, bytes: usize) -> Option<Place<'_, T>> {
        let permit = self.queue.try_reserve().ok()?;
        let add = |waiting: usize| waiting.checked_add(bytes).filter(|sum| *sum <= self.bytes);
        self.waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add).ok()?;
        Some(Place { permit: Some(permit), bytes, waiting: &self.waiting })
    }

    /// Puts something in. False: it was dropped.
    pub(crate) fn try_send(&self, item: T, bytes: usize) -> bool {
        self.try_reserve(bytes).map(|place| place.fill(item)).is_some()
    }
}

impl<T> Place<'_, T> {
    pub(crate) fn fill(mut self, item: T) {
        if let Some(permit) = self.permit.take() {
            permit.send((item, self.bytes));
        }
    }
}

impl<T> Drop for Place<'_, T> {
    fn drop(&mut self) {
        if self.permit.is_some() {
            self.waiting.fetch_sub(self.bytes, Ordering::Relaxed);
        }
    }
}

impl<T> Receiver<T> {
    /// The next item; `None` when every sender is gone.
    pub(crate) async fn recv(&mut self) -> Option<T> {
        let received = self.queue.recv().await;
        received.map(|received| self.took(received))
    }

    /// What has queued up, as much as goes onto the bus as one message: at least one item. `None` when every sender is gone.
    pub(crate) async fn recv_batch(&mut self) -> Option<Vec<T>> {
        let (first, mut bytes) = self.queue.recv().await?;
        let mut batch = vec![first];
        while batch.len() < BATCH.items
            && bytes < BATCH.bytes
            && let Ok((next, of_next)) = self.queue.try_recv()
        {
            bytes += of_next;
            batch.push(next);
        }
        self.waiting.fetch_sub(bytes, Ordering::Relaxed);
        Some(batch)
    }

    fn took(&self, (item, bytes): (T, usize)) -> T {
        self.waiting.fetch_sub(bytes, Ordering::Relaxed);
        item
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn both_bounds_hold() {
        let (sender, mut receiver) = channel(Bounds { items: 3, bytes: 100 });
        assert!(sender.try_send(1, 60));
        assert!(!sender.try_send(2, 41), "too many bytes");
        assert!(sender.try_send(3, 40) && sender.try_send(4, 0));
        assert!(!sender.try_send(5, 0), "too many items");
        assert_eq!((receiver.recv().await, receiver.recv().await), (Some(1), Some(3)));
        assert!(sender.try_send(6, 100), "what left is free again");
        assert!(!sender.try_send(7, usize::MAX));
        assert_eq!(receiver.recv_batch().await, Some(vec![4, 6]));
        assert!(sender.try_send(8, 100), "of a batch, too");
        drop(sender);
        assert_eq!((receiver.recv_batch().await, receiver.recv_batch().await), (Some(vec![8]), None));
        assert_eq!(receiver.recv().await, None);
    }

    #[tokio::test]
    async fn a_batch_ends_where_a_message_is_full() {
        let (sender, mut receiver) = channel(Bounds { items: 2000, bytes: 10 * BATCH.bytes });
        for item in 0..BATCH.items + 1 {
            assert!(sender.try_send(item, 1));
        }
        for item in 0..3 {
            assert!(sender.try_send(item, BATCH.bytes / 2));
        }
        assert_eq!(receiver.recv_batch().await.unwrap().len(), BATCH.items);
        assert_eq!(receiver.recv_batch().await, Some(vec![BATCH.items, 0, 1]));
        assert_eq!(receiver.recv_batch().await, Some(vec![2]));
    }

    #[test]
    fn a_place_that_is_not_filled_is_free_again() {
        let (sender, _receiver) = channel::<()>(Bounds { items: 1, bytes: 10 });
        drop(sender.try_reserve(10).unwrap());
        assert!(sender.try_reserve(10).is_some());
    }
}
