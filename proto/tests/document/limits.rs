//! The table of limits: each number is that of the code, and each row is known here.

use im_proto::limits::*;

use crate::{rows, says, section};

/// Returns the expected value of each row, in order.
fn told() -> Vec<(&'static str, String)> {
    let bytes = |bytes: usize| format!("{bytes} bytes");
    let per_second = |rate: u32| format!("{rate} a second");
    let plain = |number: usize| number.to_string();
    vec![
        ("frame, either direction, without its prefix", bytes(MAX_FRAME_BYTES)),
        ("content of a message, encoded", bytes(MAX_CONTENT_BYTES)),
        ("text with nothing beside it", bytes(MAX_TEXT_BYTES)),
        ("`Hello`, without its prefix", bytes(MAX_HELLO_BYTES)),
        ("length prefix", bytes(MAX_PREFIX_BYTES)),
        ("WebSocket message, either direction", "4 x (frame limit + 5) bytes".into()),
        ("user id", bytes(MAX_USER_ID_BYTES)),
        ("device id", bytes(MAX_DEVICE_ID_BYTES)),
        ("channel id", bytes(MAX_CHANNEL_ID_BYTES)),
        ("close reason", bytes(MAX_CLOSE_REASON_BYTES)),
        ("publishes that wait for their results", MAX_INFLIGHT_PUBLISHES.to_string()),
        ("requests that wait for their responses", plain(MAX_INFLIGHT_REQUESTS)),
        ("`Signal`", bytes(MAX_SIGNAL_BYTES)),
        (
            "signals of a user's devices on a server",
            format!("{}, {SIGNALS_AT_ONCE} at once", per_second(SIGNALS_PER_SECOND)),
        ),
        (
            "requests of a user's devices on a server",
            format!("{}, {REQUESTS_AT_ONCE} at once", per_second(REQUESTS_PER_SECOND)),
        ),
        ("syncs of a user's devices on a server", per_second(SYNCS_PER_SECOND)),
        ("`Ack`s of a user's devices on a server", per_second(ACKS_PER_SECOND)),
        ("cursors of an `Ack`", plain(MAX_ACK_CURSORS)),
        ("acknowledgements of a user, for each device and log", plain(MAX_ACKS_PER_USER)),
        ("rooms that a connection is in", plain(MAX_ROOMS)),
        ("entries that come with a join", plain(MAX_RECENT)),
        ("users that a connection watches", plain(MAX_WATCHED_USERS)),
        ("entries or conversations in a response", plain(MAX_PAGE)),
        ("the same, where `limit` is 0", plain(USUAL_PAGE)),
        ("kinds that a request names", plain(MAX_KINDS)),
        ("name of an application's kind, as far as it counts there", bytes(MAX_CUSTOM_KIND_BYTES)),
        ("text of a search", bytes(MAX_SEARCH_BYTES)),
        ("words of a search", plain(MAX_SEARCH_WORDS)),
        ("channels that a search without a conversation looks in", plain(MAX_SEARCH_CHANNELS)),
        ("marks in a request", plain(MAX_MARKS)),
        ("draft", bytes(MAX_DRAFT_BYTES)),
        ("place that is marked or acknowledged", MAX_SEQ.to_string()),
        ("conversations of a user in which something was set", plain(MAX_CONVERSATIONS)),
        ("unread messages of a conversation, as far as they are counted", MAX_UNREAD.to_string()),
        ("unread messages of a conversation that are listed", plain(MAX_LISTED_UNREAD)),
        ("readers that are named", plain(MAX_READERS)),
        ("members of a channel who are told at once what others have read", plain(MAX_TOLD_MEMBERS)),
        ("users that a message mentions", plain(MAX_MENTIONS)),
        ("excerpt of a quoted message", bytes(MAX_EXCERPT_BYTES)),
        ("emoji of a reaction", format!("1 to {}", bytes(MAX_REACTION_BYTES))),
        ("different reactions of one user to a message", plain(MAX_REACTIONS_PER_USER)),
        ("messages that are forwarded together", plain(MAX_FORWARDED_ENTRIES)),
        ("bundles of forwarded messages in each other", plain(MAX_FORWARDED_DEPTH)),
        ("waveform of a voice message", bytes(MAX_WAVEFORM_BYTES)),
        ("URL of media and cards", bytes(MAX_URL_BYTES)),
        ("parameters of a notice", plain(MAX_NOTICE_PARAMETERS)),
    ]
}

#[test]
fn the_limits_are_as_told() {
    let (limits, _) = section("## Limits").split_once("\n| time |").unwrap();
    let found: Vec<_> = rows(limits).skip(1).map(|row| (row[0], row[1].to_owned())).collect();
    assert_eq!(found, told());
    let message = max_message_bytes(MAX_FRAME_BYTES);
    says(&format!("4 x (frame limit + 5) bytes | fixed; with the default frame limit {message} bytes"));
}

/// A limit repeated in the text has the same value.
#[test]
fn the_text_knows_the_same_limits() {
    says(&format!("**At most {MAX_INFLIGHT_REQUESTS}** wait at once"));
    says(&format!("- [ ] At most {MAX_INFLIGHT_REQUESTS} requests wait."));
    says(&format!("A connection is in {MAX_ROOMS} rooms at most"));
    says(&format!("takes {SIGNALS_PER_SECOND} signals a second"));
    says(&format!("and {SIGNALS_AT_ONCE} at once"));
    says(&format!("beyond {SYNCS_PER_SECOND}\n  syncs in a second"));
    says(&format!("beyond {ACKS_PER_SECOND} `Ack`s in a second"));
    says(&format!("wants to see, at most {MAX_WATCHED_USERS} users"));
    says(&format!("a reason of at most {MAX_CLOSE_REASON_BYTES} bytes"));
    says(&format!("| user id | 1 to {MAX_USER_ID_BYTES} bytes of printable ASCII"));
    says(&format!("a varint of 1 to {MAX_PREFIX_BYTES} bytes"));
}
