//! The waiting times of a server that PROTOCOL.md documents for devices.

use std::time::Duration;

use im_sdk::token::{CLOCK_LEEWAY, TokenVerifier};
use im_server::ServerConfig;

const DOCUMENT: &str = include_str!("../../../../proto/PROTOCOL.md");

#[test]
fn the_times_are_as_told() {
    let config = ServerConfig::new("s", TokenVerifier::new("i", "a", []));
    let seconds = |time: Duration| format!("{} s", time.as_secs_f64());
    let heartbeats = config.idle_timeout().as_secs_f64() / config.heartbeat.as_secs_f64();
    let told = [
        ("until `Hello` is complete", seconds(config.hello_timeout)),
        ("`heartbeat_ms`", seconds(config.heartbeat)),
        ("silence of a device", format!("{heartbeats} x `heartbeat_ms`")),
        ("until a publish or a request is answered", seconds(config.publish_timeout)),
        ("by which clocks may differ", seconds(CLOCK_LEEWAY)),
    ];
    let (_, table) = DOCUMENT.split_once("\n| time | value | |\n").unwrap();
    let table = table.split_once("\n\n").unwrap().0;
    let cells = |line: &'static str| line.trim_matches('|').split('|').map(str::trim).collect::<Vec<_>>();
    let found: Vec<_> = table.lines().skip(1).map(cells).map(|row| (row[0], row[1].to_owned())).collect();
    assert_eq!(found, told);
    let text = [
        format!("by default {} from the first packet", seconds(config.hello_timeout)),
        format!("for {heartbeats} times `heartbeat_ms`"),
        format!("tolerates clocks that differ by {}", seconds(CLOCK_LEEWAY)),
        format!("and those {} have passed", seconds(CLOCK_LEEWAY)),
    ];
    for text in text {
        assert!(DOCUMENT.contains(&text), "PROTOCOL.md does not say {text:?}");
    }
}
