//! PROTOCOL.md says what the code does, wherever that can be compared.

use im_proto::{
    ALPN, PROTOCOL_VERSIONS, WEBSOCKET_PROTOCOL,
    close::{CloseCode, ReconnectPolicy},
    limits,
};

const DOCUMENT: &str = include_str!("../PROTOCOL.md");
const VECTORS: &str = include_str!("../vectors/frames.json");

#[test]
fn the_worked_example_is_made_of_golden_frames() {
    let examples: Vec<_> = DOCUMENT.split("```text ").skip(1).collect();
    assert_eq!(examples.len(), 10);
    for example in examples {
        let (name, lines) = example.split_once('\n').unwrap();
        let lines = lines.split_once("```").unwrap().0;
        // Bytes, at least two spaces, what they mean.
        let hex: String =
            lines.lines().map(|line| line.split_once("  ").unwrap().0.replace(' ', "")).collect();
        let entry = format!("{{\"name\":\"{name}\",\"hex\":\"{hex}\",");
        assert!(VECTORS.contains(&entry), "not in the golden vectors: {entry}");
    }
}

#[test]
fn every_close_code_stands_in_the_table() {
    for code in CloseCode::ALL {
        let next = match code.policy() {
            ReconnectPolicy::Backoff => "backoff",
            ReconnectPolicy::FreshToken => "fresh token",
            ReconnectPolicy::Never => "never",
        };
        says(&format!("\n| {} | `{}` | {next} | ", code.code(), code.name()));
    }
    let is_code = |line: &&str| line.starts_with("| 4") && line[6..].starts_with(" | `");
    assert_eq!(DOCUMENT.lines().filter(is_code).count(), CloseCode::ALL.len(), "a code too many");
}

const RANGES: [(u16, u16, ReconnectPolicy, &str); 4] = [
    (4000, 4199, ReconnectPolicy::Backoff, "backoff |"),
    (4200, 4399, ReconnectPolicy::FreshToken, "fresh token |"),
    (4400, 4599, ReconnectPolicy::Never, "never |"),
    (4600, 4999, ReconnectPolicy::Backoff, "backoff; kept for later |"),
];

#[test]
fn the_ranges_of_close_codes_are_as_told() {
    for (first, last, policy, next) in RANGES {
        says(&format!("\n| {first}-{last} | {next}"));
        assert!((first..=last).all(|code| CloseCode::from(code).policy() == policy), "{first}-{last}");
    }
    let others = (0..4000).chain(5000..=u16::MAX);
    assert!(others.into_iter().all(|code| CloseCode::from(code).policy() == ReconnectPolicy::Backoff));
}

#[test]
fn the_limits_are_as_told() {
    let bytes = [
        ("frame, either direction, without its prefix", limits::MAX_FRAME_BYTES),
        ("content of a message, encoded", limits::MAX_CONTENT_BYTES),
        ("text with nothing beside it", limits::MAX_TEXT_BYTES),
        ("`Hello`, without its prefix", limits::MAX_HELLO_BYTES),
        ("length prefix", limits::MAX_PREFIX_BYTES),
        ("user id", limits::MAX_USER_ID_BYTES),
        ("device id", limits::MAX_DEVICE_ID_BYTES),
        ("channel id", limits::MAX_CHANNEL_ID_BYTES),
        ("close reason", limits::MAX_CLOSE_REASON_BYTES),
        ("excerpt of a quoted message", limits::MAX_EXCERPT_BYTES),
        ("waveform of a voice message", limits::MAX_WAVEFORM_BYTES),
        ("URL of media and cards", limits::MAX_URL_BYTES),
    ];
    for (what, bytes) in bytes {
        says(&format!("\n| {what} | {bytes} bytes |"));
    }
    says(&format!("\n| publishes that wait for their results | {} |", limits::MAX_INFLIGHT_PUBLISHES));
    says(&format!("\n| requests that wait for their responses | {} |", limits::MAX_INFLIGHT_REQUESTS));
    says(&format!("\n| users that a connection watches | {} |", limits::MAX_WATCHED_USERS));
    says(&format!("\n| emoji of a reaction | 1 to {} bytes |", limits::MAX_REACTION_BYTES));
    let counts = [
        ("users that a message mentions", limits::MAX_MENTIONS),
        ("messages that are forwarded together", limits::MAX_FORWARDED_ENTRIES),
        ("bundles of forwarded messages in each other", limits::MAX_FORWARDED_DEPTH),
        ("parameters of a notice", limits::MAX_NOTICE_PARAMETERS),
    ];
    for (what, count) in counts {
        says(&format!("\n| {what} | {count} |"));
    }
    let message = limits::max_message_bytes(limits::MAX_FRAME_BYTES);
    says(&format!("4 x (frame limit + 5) bytes | fixed; with the default frame limit {message} bytes"));
}

#[test]
fn the_names_are_as_told() {
    says(&format!("is `{}`", std::str::from_utf8(ALPN).unwrap()));
    says(&format!("subprotocol `{WEBSOCKET_PROTOCOL}`"));
    assert_eq!(PROTOCOL_VERSIONS, 1..=1);
    says("The only version so far is 1.");
}

fn says(text: &str) {
    assert!(DOCUMENT.contains(text), "PROTOCOL.md does not say {text:?}");
}
