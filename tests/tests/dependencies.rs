//! Which crates each half of the SDK brings, and that there is one version of those that matter.
#![allow(clippy::unwrap_used)]

use std::{collections::BTreeSet, process::Command};

/// The names of everything that a crate with these features links.
fn tree(package: &str, features: &str) -> BTreeSet<String> {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--locked", "--offline", "--edges", "normal", "--prefix", "none", "--format", "{p}"])
        .args(["--package", package, "--no-default-features", "--features", features])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().filter_map(|line| line.split(' ').next()).map(ToOwned::to_owned).collect()
}

fn check(package: &str, features: &str, with: &[&str], without: &[&str]) {
    let tree = tree(package, features);
    for name in with {
        assert!(tree.contains(*name), "{package} with {features:?} lacks {name}");
    }
    for name in without {
        assert!(!tree.contains(*name), "{package} with {features:?} brings {name}");
    }
}

#[test]
fn a_device_links_no_cluster() {
    check(
        "im-sdk",
        "client",
        &["quinn", "tokio-tungstenite"],
        &["redis", "async-nats", "jsonwebtoken", "redb"],
    );
    check("im-ffi", "", &["quinn", "uniffi"], &["redis", "async-nats", "jsonwebtoken", "redb"]);
}

#[test]
fn a_back_end_links_no_transport() {
    check("im-sdk", "backend", &["redis", "async-nats"], &["quinn", "tokio-tungstenite", "sqlx"]);
    check("im-sdk", "sql", &["sqlx"], &["quinn", "tokio-tungstenite", "sqlx-mysql"]);
}

#[test]
fn the_protocol_does_no_io() {
    check("im-proto", "", &["prost"], &["tokio", "rustls"]);
}

#[test]
fn what_matters_is_there_once() {
    let lock = concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.lock");
    let lock = std::fs::read_to_string(lock).unwrap();
    for name in ["bytes", "prost", "quinn", "redis", "ring", "rustls", "tokio", "tokio-rustls", "tungstenite"]
    {
        let versions = lock.matches(&format!("\nname = \"{name}\"\n")).count();
        assert_eq!(versions, 1, "{name} is there in {versions} versions");
    }
    for name in ["hyper", "aws-lc-rs", "openssl"] {
        assert!(!lock.contains(&format!("\nname = \"{name}\"\n")), "{name} has come in");
    }
}
