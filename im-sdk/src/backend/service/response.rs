//! Responses to devices, cut to the size of a frame.

use bytes::Bytes;
use prost::Message as _;

use super::Refusal;
use crate::{
    Conversation, HistoryRange, SearchPlace,
    backend::{
        history::{RawPage, channel_of, search::RawFound},
        message_store::{RawEntry, StoredEntry},
    },
    proto::{frame, limits::MAX_FRAME_BYTES, pb, pb::RefusalKind},
};

/// The time after which a device may retry a failed request.
pub(super) const RETRY_MS: u32 = 1000;

/// The bytes of a frame beside its entries, and of an entry beside its own bytes.
pub(super) const FRAME_OVERHEAD: usize = 64;
pub(super) const ENTRY_OVERHEAD: usize = 8;

/// The most bytes of a cursor.
const CURSOR_BYTES: usize = 128;

/// The most bytes of reactions and pins in a frame, so that there is room for messages.
const MAX_MARKS_BYTES: usize = MAX_FRAME_BYTES / 4;

/// Cuts a page to a frame of which some bytes are taken. Keeps the entries nearest to the start of
/// the request.
pub(super) fn fit(page: RawPage, conversation: &Conversation, forward: bool, taken: usize) -> pb::RawHistory {
    let channel = match conversation {
        Conversation::Channel(channel) => channel.to_string(),
        _ => String::new(),
    };
    let mut taken_by_marks = 0;
    let fits = |push: &pb::RawPush| {
        taken_by_marks += push.encoded_len() + ENTRY_OVERHEAD;
        taken_by_marks <= MAX_MARKS_BYTES
    };
    // The last ones, if there are too many.
    let changes = page.changes.into_iter().rev().map(|entry| push(entry, &channel));
    let mut changes: Vec<pb::RawPush> = changes.take_while(fits).collect();
    changes.reverse();
    let taken = taken + taken_by_marks.min(MAX_MARKS_BYTES);
    let mut pushes: Vec<pb::RawPush> = page.entries.into_iter().map(|entry| push(entry, &channel)).collect();
    if !forward {
        pushes.reverse();
    }
    let all = pushes.len();
    let mut bytes = taken;
    let fits = |push: &&pb::RawPush| {
        bytes += push.encoded_len() + ENTRY_OVERHEAD;
        bytes <= MAX_FRAME_BYTES
    };
    let mut count = pushes.iter().take_while(fits).count();
    // Entries with one seq stay together, since the next page begins behind a seq.
    let same_seq = |count: usize| pushes.get(count).map(|push| push.seq) == Some(pushes[count - 1].seq);
    let whole = (1..=count).rev().find(|count| !same_seq(*count));
    count = whole.unwrap_or(count);
    pushes.truncate(count);
    // The device requests the rest behind the last entry that fits.
    let next = match pushes.last() {
        Some(push) if count < all => Some(push.seq),
        _ => page.next.map(seq_of),
    };
    if !forward {
        pushes.reverse();
    }
    pb::RawHistory { entries: pushes, more: next.is_some(), next: next.unwrap_or_default(), changes }
}

fn seq_of(range: HistoryRange) -> u64 {
    match range {
        HistoryRange::Newest => 0,
        HistoryRange::Before(seq) | HistoryRange::After(seq) => seq,
    }
}

/// Cuts found entries to a frame.
pub(super) fn fit_found(found: RawFound) -> pb::RawFound {
    let (mut entries, mut next, mut bytes) =
        (Vec::new(), found.next.map(|place| cursor(&place)), FRAME_OVERHEAD);
    let mut last = None;
    for entry in found.entries {
        let StoredEntry { log, seq, message_id, message, .. } = entry;
        let place = SearchPlace { channel: channel_of(&log), message_id };
        let channel = place.channel.as_ref().map(ToString::to_string).unwrap_or_default();
        let push = push(RawEntry { seq, message_id, message }, &channel);
        bytes += push.encoded_len() + ENTRY_OVERHEAD;
        if bytes > MAX_FRAME_BYTES - CURSOR_BYTES
            && let Some(last) = last
        {
            next = Some(last);
            break;
        }
        last = Some(cursor(&place));
        entries.push(push);
    }
    pb::RawFound { entries, next }
}

fn cursor(place: &SearchPlace) -> pb::Cursor {
    let channel = place.channel.as_ref().map(ToString::to_string).unwrap_or_default();
    pb::Cursor { channel, seq: 0, id: place.message_id.as_u64() }
}

/// Builds an entry's push. Removes the content of an entry that is too large for a frame by itself:
/// otherwise no device could page past it. Present limits do not allow such entries.
pub(super) fn push(entry: RawEntry, channel: &str) -> pb::RawPush {
    let push = pb::RawPush { message: entry.message, channel: channel.to_owned(), seq: entry.seq };
    if FRAME_OVERHEAD + ENTRY_OVERHEAD + push.encoded_len() <= MAX_FRAME_BYTES {
        return push;
    }
    let message = pb::Message::decode(push.message.clone()).unwrap_or_default();
    let message = pb::Message { id: entry.message_id.as_u64(), content: None, ..message };
    pb::RawPush { message: message.encode_to_vec().into(), ..push }
}

pub(super) fn answer(response: pb::RawResponse) -> Bytes {
    pb::RawFrame { push: None, response: Some(response) }.encode_length_delimited_to_vec().into()
}

pub(super) fn refusal(number: u64, refused: pb::Refused) -> Bytes {
    response(number, pb::response::Outcome::Refused(refused))
}

/// Encodes a response without messages.
pub(super) fn response(number: u64, outcome: pb::response::Outcome) -> Bytes {
    frame::encode(pb::frame::Body::Response(pb::Response { number, outcome: Some(outcome) }))
}

/// Converts a refusal of the handler.
pub(super) fn rule(refusal: Refusal) -> pb::Refused {
    match refusal.retry_after {
        // 0 would mean never.
        Some(delay) => {
            let retry_ms = u32::try_from(delay.as_millis()).unwrap_or(u32::MAX).max(1);
            refused(RefusalKind::Unavailable, refusal.reason, retry_ms)
        }
        None => pb::Refused { code: refusal.code, ..refused(RefusalKind::Rule, refusal.reason, 0) },
    }
}

/// Builds a refusal by the SDK, with a code of [`refusal_code`](crate::refusal_code).
pub(super) fn own_rule(code: i32, reason: String) -> pb::Refused {
    pb::Refused { code, ..refused(RefusalKind::Rule, reason, 0) }
}

pub(super) fn refused(kind: RefusalKind, reason: String, retry_after_ms: u32) -> pb::Refused {
    pb::Refused { kind: kind.into(), reason, code: 0, retry_after_ms }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{id::MessageId, refusal_code};

    fn page(sizes: &[(u64, usize)]) -> RawPage {
        let entry = |(seq, bytes): &(u64, usize)| RawEntry {
            seq: *seq,
            message_id: MessageId::from_u64(7).unwrap(),
            message: vec![0; *bytes].into(),
        };
        RawPage { entries: sizes.iter().map(entry).collect(), next: None, changes: Vec::new(), looked: None }
    }

    fn fitted(sizes: &[(u64, usize)], forward: bool) -> (Vec<u64>, bool) {
        let history = fit(page(sizes), &Conversation::Inbox, forward, FRAME_OVERHEAD);
        let response =
            pb::RawResponse { number: u64::MAX, history: Some(history.clone()), ..Default::default() };
        let frame = answer(response);
        assert!(frame.len() <= MAX_FRAME_BYTES + 5, "{} bytes", frame.len());
        (history.entries.iter().map(|push| push.seq).collect(), history.more)
    }

    #[test]
    fn what_fits_is_nearest_to_where_it_was_asked() {
        let large = [(1, 20_000), (2, 20_000), (3, 20_000), (4, 20_000)];
        assert_eq!(fitted(&large, true), (vec![1, 2, 3], true));
        assert_eq!(fitted(&large, false), (vec![2, 3, 4], true));
        assert_eq!(fitted(&large[..3], false), (vec![1, 2, 3], false));
        assert_eq!(fitted(&[], true), (vec![], false));
        let small: Vec<_> = (1..=200).map(|seq| (seq, 100)).collect();
        assert_eq!(fitted(&small, true).0.len(), 200);
        let tiny: Vec<_> = (1..=20_000).map(|seq| (seq, 0)).collect();
        assert!(fitted(&tiny, false).1);
    }

    #[test]
    fn entries_with_one_seq_stay_together() {
        assert_eq!(fitted(&[(1, 20_000), (2, 20_000), (2, 20_000), (2, 20_000)], true), (vec![1], true));
        assert_eq!(fitted(&[(1, 30_000), (1, 30_000), (2, 30_000)], false), (vec![2], true));
        // Entries with one seq that do not fit into a frame: a part of them is better than nothing.
        assert_eq!(fitted(&[(1, 30_000), (1, 30_000), (1, 30_000)], true), (vec![1, 1], true));
    }

    #[test]
    fn codes_of_handlers_are_never_those_of_the_sdk() {
        let of_a_handler = |code| rule(Refusal::new("no").with_code(code));
        assert_eq!([7, 0, -1, i32::MIN].map(|code| of_a_handler(code).code), [7, 0, 0, 0]);
        assert!(own_rule(refusal_code::NOT_A_MEMBER, "no".to_owned()).code < 0);
    }

    #[test]
    fn a_refusal_for_now_says_when_to_ask_again() {
        let ms = |delay| rule(Refusal::new("no").with_code(7).retry_after(delay)).retry_after_ms;
        let refused = rule(Refusal::new("later").retry_after(Duration::from_secs(2)));
        assert_eq!((refused.kind(), refused.code, &*refused.reason), (RefusalKind::Unavailable, 0, "later"));
        assert_eq!(refused.retry_after_ms, 2000);
        assert_eq!([ms(Duration::ZERO), ms(Duration::MAX)], [1, u32::MAX]);
    }

    #[test]
    fn what_is_too_large_shows_without_content() {
        let (seqs, more) = fitted(&[(1, 10), (2, MAX_FRAME_BYTES), (3, 10)], true);
        assert_eq!((seqs, more), (vec![1, 2, 3], false));
    }
}
