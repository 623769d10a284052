//! The table of close codes, and their ranges, agree with the code.

use im_proto::close::{CloseCode, ReconnectPolicy};

use crate::{DOCUMENT, says, section};

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

/// The section about connecting refers to codes by name.
#[test]
fn the_codes_of_connecting_exist() {
    let mut found = 0;
    for line in section("## Connecting").lines().filter(|line| line.starts_with("| `")) {
        for name in line.split('|').nth(1).unwrap().split(',') {
            let name = name.trim().trim_matches('`');
            assert!(CloseCode::ALL.iter().any(|code| code.name() == name), "{name}");
            found += 1;
        }
    }
    assert!(found >= 8, "{found}");
}
