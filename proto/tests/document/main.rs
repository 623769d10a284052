//! PROTOCOL.md agrees with the code, wherever they can be compared.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, also in its helpers")]

mod codes;
mod limits;
mod messages;
#[path = "../pool/mod.rs"]
mod pool;
mod reserved;

use im_proto::{ALPN, PROTOCOL_VERSIONS, WEBSOCKET_PROTOCOL};

const DOCUMENT: &str = include_str!("../../PROTOCOL.md");
const VECTORS: &str = include_str!("../../vectors/frames.json");

#[test]
fn the_worked_example_is_made_of_golden_frames() {
    let examples: Vec<_> = DOCUMENT.split("```text ").skip(1).collect();
    assert_eq!(examples.len(), 10);
    for example in examples {
        let (name, lines) = example.split_once('\n').unwrap();
        let lines = lines.split_once("```").unwrap().0;
        // Bytes, at least two spaces, their meaning.
        let hex: String =
            lines.lines().map(|line| line.split_once("  ").unwrap().0.replace(' ', "")).collect();
        let entry = format!("{{\"name\":\"{name}\",\"hex\":\"{hex}\",");
        assert!(VECTORS.contains(&entry), "not in the golden vectors: {entry}");
    }
}

#[test]
fn the_names_are_as_told() {
    says(&format!("is `{}`", std::str::from_utf8(ALPN).unwrap()));
    says(&format!("subprotocol `{WEBSOCKET_PROTOCOL}`"));
    assert_eq!(PROTOCOL_VERSIONS, 1..=1);
    says("The only version so far is 1.");
}

/// Links lead to headings of this document.
#[test]
fn no_link_leads_nowhere() {
    let anchor = |heading: &str| {
        let heading = heading.trim_start_matches('#').trim().to_lowercase();
        let letters = heading.chars().filter(|char| char.is_alphanumeric() || " -_".contains(*char));
        letters.map(|char| if char == ' ' { '-' } else { char }).collect::<String>()
    };
    let headings: Vec<_> = DOCUMENT.lines().filter(|line| line.starts_with('#')).map(anchor).collect();
    let links: Vec<_> = DOCUMENT.split("](#").skip(1).map(|rest| rest.split_once(')').unwrap().0).collect();
    assert!(links.len() > 40, "{links:?}");
    for link in links {
        assert!(headings.iter().any(|heading| heading == link), "no heading for #{link}");
    }
}

/// Returns the text after a heading, up to the next one of its level or above.
fn section(heading: &str) -> &'static str {
    let level = heading.find(' ').unwrap();
    let rest = DOCUMENT.split_once(&format!("\n{heading}\n")).unwrap_or_else(|| panic!("no {heading}")).1;
    let is_end = |line: &str| line.starts_with('#') && line.find(' ').is_some_and(|found| found <= level);
    let end = rest
        .lines()
        .find(|line| is_end(line))
        .map_or(rest.len(), |line| line.as_ptr() as usize - rest.as_ptr() as usize);
    &rest[..end]
}

/// Returns the cells of a table's rows, without its head.
fn rows(text: &str) -> impl Iterator<Item = Vec<&str>> {
    let cells = |line| {
        let line: &str = line;
        line.trim_matches('|').split('|').map(str::trim).collect::<Vec<_>>()
    };
    let is_row = |cells: &Vec<&str>| !cells[0].starts_with("---") && !cells.is_empty();
    text.lines().filter(|line| line.starts_with("| ")).map(cells).filter(is_row)
}

fn says(text: &str) {
    assert!(DOCUMENT.contains(text), "PROTOCOL.md does not say {text:?}");
}
