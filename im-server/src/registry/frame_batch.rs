//! Frames that are queued for one connection, in their order.

use std::{collections::VecDeque, iter};

use bytes::{Buf as _, Bytes};

/// The size of one write to a transport: queued frames are put together up to this size.
pub(crate) const WRITE_BYTES: usize = 64 * 1024;

/// Queued frames, in order. Most connections have at most one, which needs no allocation.
#[derive(Debug, Default)]
pub(crate) struct FrameBatch {
    /// Empty only if `rest` is.
    first: Option<Bytes>,
    rest: VecDeque<Bytes>,
}

impl FrameBatch {
    /// Adds frames, which must not be empty.
    pub(crate) fn push(&mut self, frames: Bytes) {
        match self.first {
            None => self.first = Some(frames),
            Some(_) => self.rest.push_back(frames),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    pub(crate) fn front(&self) -> Option<&Bytes> {
        self.first.as_ref()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Bytes> {
        self.first.iter().chain(&self.rest)
    }

    /// Appends another batch.
    pub(crate) fn append(&mut self, other: Self) {
        if self.is_empty() {
            *self = other;
        } else {
            self.rest.extend(iter::chain(other.first, other.rest));
        }
    }

    /// Returns the total size of the first frames that fit into `limit` together. A first frame that is larger counts alone.
    pub(crate) fn bytes_up_to(&self, limit: usize) -> usize {
        let mut bytes = 0;
        for frames in self.iter() {
            if bytes > 0 && bytes + frames.len() > limit {
                break;
            }
            bytes += frames.len();
        }
        bytes
    }

    /// Removes bytes from the front.
    pub(crate) fn advance(&mut self, mut bytes: usize) {
        while let Some(first) = &mut self.first {
            if bytes < first.len() {
                first.advance(bytes);
                return;
            }
            bytes -= first.len();
            self.first = self.rest.pop_front();
        }
        // An idle connection holds no memory for its queue.
        self.rest = VecDeque::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(sizes: &[usize]) -> FrameBatch {
        let mut batch = FrameBatch::default();
        sizes.iter().for_each(|size| batch.push(Bytes::from(vec![7; *size])));
        batch
    }

    fn sizes(batch: &FrameBatch) -> Vec<usize> {
        batch.iter().map(Bytes::len).collect()
    }

    #[test]
    fn whole_frames_count_up_to_a_limit() {
        assert_eq!(batch(&[]).bytes_up_to(60), 0);
        assert_eq!(batch(&[10, 20, 30]).bytes_up_to(60), 60);
        assert_eq!(batch(&[10, 20, 30]).bytes_up_to(59), 30);
        assert_eq!(batch(&[70, 1]).bytes_up_to(60), 70, "one that is too large goes alone");
    }

    #[test]
    fn bytes_go_from_the_front() {
        let mut batch = batch(&[10, 20, 30]);
        batch.advance(0);
        assert_eq!(sizes(&batch), [10, 20, 30]);
        batch.advance(15);
        assert_eq!(sizes(&batch), [15, 30]);
        batch.advance(45);
        assert!(batch.is_empty() && batch.rest.capacity() == 0);
    }

    #[test]
    fn what_is_added_comes_last() {
        let mut all = batch(&[]);
        all.append(batch(&[1, 2]));
        all.append(batch(&[3, 4]));
        all.append(batch(&[]));
        all.push(Bytes::from_static(&[0; 5]));
        assert_eq!(sizes(&all), [1, 2, 3, 4, 5]);
    }
}
