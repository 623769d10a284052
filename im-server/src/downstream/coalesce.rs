//! Coalesces frames for the same connections into one buffer, so that a busy channel costs each of its members little more than its
//! bytes.

use std::iter::Peekable;

use bytes::BytesMut;
use im_proto::pb::{self, Priority, record::Effect};

use crate::registry::frame_batch::WRITE_BYTES;

/// Returns the maximum size of one buffer: a fraction of the outbox, so that it still fits when other frames are queued.
pub(crate) fn max_bytes(outbox_bytes: usize) -> usize {
    WRITE_BYTES.min(outbox_bytes / 8)
}

/// Records for fewer connections are not coalesced: that would cost more than it saves.
const MIN_CONNECTIONS: usize = 4;

/// Moves the frames of the following records for the same connections into `record`, up to `max_bytes` in all, and returns the
/// index of the last of them.
///
/// Records that may be shed are not coalesced: each is shed and counted by itself. A coalesced buffer reaches as many connections
/// as each of its parts would.
pub(crate) fn coalesce(
    record: &mut pb::Record,
    index: u32,
    following: &mut Peekable<impl Iterator<Item = (u32, pb::Record)>>,
    max_bytes: usize,
) -> u32 {
    if record.everyone || record.priority() != Priority::Must {
        return index;
    }
    let pb::Record { connections, channel, effect: Some(Effect::Frames(frames)), .. } = record else {
        return index;
    };
    if channel.is_empty() && connections.len() < MIN_CONNECTIONS {
        return index;
    }
    let (mut last, mut all) = (index, BytesMut::new());
    let mut next = |bytes| {
        let fits = |next: &pb::Record| match &next.effect {
            Some(Effect::Frames(more)) => {
                bytes + more.len() <= max_bytes
                    && next.channel == *channel
                    && next.connections == *connections
                    && !next.everyone
                    && next.priority() == Priority::Must
            }
            _ => false,
        };
        following.next_if(|(_, next)| fits(next))
    };
    while let Some((index, pb::Record { effect: Some(Effect::Frames(more)), .. })) =
        next(frames.len().max(all.len()))
    {
        if all.is_empty() {
            all.extend_from_slice(frames);
        }
        all.extend_from_slice(&more);
        last = index;
    }
    if last != index {
        *frames = all.freeze();
    }
    last
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn to(connections: &[u64], channel: &str, frames: &'static str) -> pb::Record {
        let effect = Some(Effect::Frames(frames.into()));
        pb::Record {
            connections: connections.to_vec(),
            channel: channel.to_owned(),
            effect,
            ..pb::Record::default()
        }
    }

    fn merged(records: Vec<pb::Record>, limit: usize) -> Vec<(u32, u32, Bytes)> {
        let mut records = (0..).zip(records).peekable();
        let mut merged = Vec::new();
        while let Some((index, mut record)) = records.next() {
            let last = coalesce(&mut record, index, &mut records, limit);
            let frames = match record.effect {
                Some(Effect::Frames(frames)) => frames,
                _ => Bytes::new(),
            };
            merged.push((index, last, frames));
        }
        merged
    }

    #[test]
    fn what_follows_for_the_same_connections_goes_along() {
        let many = [1, 2, 3, 4];
        let kick = pb::Record { effect: Some(Effect::Kick(pb::Kick::default())), ..to(&many, "", "") };
        let records = vec![
            to(&[], "red", "a"),
            to(&[], "red", "b"),
            to(&[], "blue", "c"),
            to(&many, "", "d"),
            to(&many, "", "e"),
            to(&many, "", "f"),
            kick,
            to(&many, "", "g"),
            to(&[1, 2, 3, 5], "", "h"),
            to(&[1], "", "i"),
            to(&[1], "", "j"),
        ];
        let expected = [
            (0, 1, "ab"),
            (2, 2, "c"),
            (3, 5, "def"),
            (6, 6, ""),
            (7, 7, "g"),
            (8, 8, "h"),
            (9, 9, "i"),
            (10, 10, "j"),
        ];
        assert_eq!(merged(records, 100), expected.map(|(first, last, frames)| (first, last, frames.into())));
    }

    #[test]
    fn what_is_counted_by_itself_stays_by_itself() {
        let of =
            |priority: Priority, frames| pb::Record { priority: priority.into(), ..to(&[], "red", frames) };
        let everyone = |frames| pb::Record { everyone: true, ..to(&[], "", frames) };
        let records = vec![
            of(Priority::Must, "a"),
            of(Priority::Low, "b"),
            of(Priority::Low, "c"),
            of(Priority::Normal, "d"),
            of(Priority::Normal, "e"),
            of(Priority::Must, "f"),
            of(Priority::Must, "g"),
            everyone("h"),
            everyone("i"),
        ];
        let expected = [
            (0, 0, "a"),
            (1, 1, "b"),
            (2, 2, "c"),
            (3, 3, "d"),
            (4, 4, "e"),
            (5, 6, "fg"),
            (7, 7, "h"),
            (8, 8, "i"),
        ];
        assert_eq!(merged(records, 100), expected.map(|(first, last, frames)| (first, last, frames.into())));
    }

    #[test]
    fn a_piece_stays_within_its_limit() {
        let records = ["aa", "bb", "c", "dddddd", "ee"].map(|frames| to(&[], "red", frames)).to_vec();
        let pieces: Vec<Bytes> = merged(records, 5).into_iter().map(|(_, _, frames)| frames).collect();
        assert_eq!(pieces, ["aabbc", "dddddd", "ee"]);
        assert_eq!(max_bytes(1024 * 1024), WRITE_BYTES);
        assert_eq!(max_bytes(128 * 1024), 16 * 1024);
    }
}
