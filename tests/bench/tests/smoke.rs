//! Runs each scenario in small: it must be exact and report its figures, and a target that is not exact must be found
//! out.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step of a test is a panic")]

use std::process::{Command, Output};

use serde_json::Value;

fn bench(arguments: &str) -> Output {
    let output = Command::new(env!("CARGO_BIN_EXE_im-bench")).args(arguments.split_whitespace()).output();
    output.unwrap()
}

/// Returns the output with `--json`. The run must be without faults.
fn run(arguments: &str) -> Vec<Value> {
    let output = bench(&format!("{arguments} --json"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments}: {errors}");
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    printed.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn run_one(arguments: &str) -> Value {
    let [report] = run(arguments).try_into().unwrap();
    report
}

fn number(report: &Value, name: &str) -> f64 {
    report[name].as_f64().unwrap_or_else(|| panic!("{name} is {} in {report}", report[name]))
}

/// Asserts that every message arrived once and in order.
fn assert_exact(report: &Value, each: f64) {
    for fault in ["lost", "duplicated", "reordered", "failed"] {
        assert_eq!(report[fault], 0, "{fault} in {report}");
    }
    assert!(number(report, "sent") > 0.0, "{report}");
    assert_eq!(number(report, "delivered"), number(report, "sent") * each, "{report}");
}

const SHORT: &str = "--connections 20 --seconds 0.3 --warm-up 0.1 --rate 2000";

#[test]
fn unicast_over_every_transport_and_path() {
    for how in [
        "",
        "--transport wss",
        "--transport quic",
        "--path live",
        "--path logged --transport wss",
        "--servers 2",
    ] {
        let report = run_one(&format!("unicast {SHORT} {how}"));
        assert_exact(&report, 1.0);
        for field in ["delivered_per_s", "server_cpu_us_per_delivery", "messages_per_write", "client_busy"] {
            assert!(number(&report, field) >= 0.0);
        }
        assert!(number(&report["latency_us"], "p50") > 0.0);
        assert!(report["connects_per_s"].is_null(), "what does not apply is null: {report}");
    }
}

#[test]
fn channels_have_each_message_come_to_all_members() {
    let short = "--connections 20 --seconds 0.3 --warm-up 0.1 --rate 200";
    assert_exact(&run_one(&format!("channel {short}")), 20.0);
    // Five channels of four members, with members on both servers.
    assert_exact(&run_one(&format!("channel {short} --channels 5 --servers 2")), 4.0);
    assert_exact(&run_one(&format!("channel {short} --channels 5 --target control")), 4.0);
}

#[test]
fn idle_and_storm_count_connections() {
    let idle = run_one("idle --connections 50");
    assert!(number(&idle, "server_rss_bytes_per_connection") >= 0.0);
    for how in [
        "--registration redis",
        "--registration none",
        "--registration none --transport wss",
        "--transport quic",
    ] {
        let storm = run_one(&format!("storm --connections 50 {how} --threads 2"));
        assert!(number(&storm, "connects_per_s") > 0.0);
        assert_eq!(storm["failed"], 0, "{storm}");
    }
}

#[test]
fn resumed_devices_get_exactly_what_they_missed() {
    for transport in ["ws", "quic"] {
        let report = run_one(&format!("resume --connections 30 --missed 7 --transport {transport}"));
        assert_exact(&report, 1.0);
        assert_eq!(number(&report, "delivered"), 30.0 * 7.0);
        assert!(number(&report, "resumes_per_s") > 0.0);
    }
}

#[test]
fn growth_and_compare_print_a_run_for_each_point_and_target_and_plot() {
    let directory = tempfile::tempdir().unwrap();
    let (growth, compare) = (directory.path().join("growth.svg"), directory.path().join("compare.svg"));
    let reports =
        run(&format!("growth channels --target control {SHORT} --sweep 2,5 --plot {}", growth.display()));
    let channels: Vec<_> = reports.iter().map(|report| report["channels"].as_u64().unwrap()).collect();
    assert_eq!(channels, [2, 5]);
    let printed = run(&format!(
        "compare unicast --target nats-ws --peer control --rounds 2 {SHORT} --plot {}",
        compare.display()
    ));
    let targets: Vec<_> = printed.iter().filter(|line| line["ratio"].is_null()).collect();
    assert_eq!([&targets[0]["target"], &targets[1]["target"]], ["nats-ws", "control"]);
    assert!(printed.iter().any(|line| line["ratio"] == "delivered_per_s" && number(line, "value") > 0.0));
    for plot in [growth, compare] {
        assert!(std::fs::read_to_string(plot).unwrap().starts_with("<svg"));
    }
}

#[test]
fn a_target_that_is_not_exact_is_found_out() {
    for (spoil, fault) in [("lose", "lost"), ("double", "duplicated"), ("shuffle", "reordered")] {
        let output = bench(&format!("unicast --target control {SHORT} --spoil {spoil} --json"));
        assert!(!output.status.success(), "{spoil} was not noticed");
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert!(number(&report, fault) > 0.0, "{spoil}: {report}");
    }
}

#[test]
fn what_cannot_be_measured_is_refused_with_a_reason() {
    for (arguments, reason) in [
        ("unicast --target control --transport quic", "control is measured with"),
        ("resume --target control", "resume is measured with --target im"),
        ("channel --connections 5 --channels 6", "--channels 6 is more"),
        ("unicast --registration none --connections 5", "no way in"),
        ("unicast --target control --connections 4000000", "for want of descriptors"),
    ] {
        let output = bench(arguments);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && errors.contains(reason), "{arguments}: {errors}");
    }
}
