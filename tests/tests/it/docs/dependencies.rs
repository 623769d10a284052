//! Crates that each half of the SDK depends on, and a single version of the important ones.

use std::{collections::BTreeSet, process::Command};

/// Returns the names of all crates that a crate with these features links.
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
    check("im-ffi", "", &["quinn", "uniffi"], &["redis", "async-nats", "jsonwebtoken", "redb", "im-server"]);
    check("im-ffi", "python", &["quinn", "redis", "im-server"], &["hyper", "openssl"]);
}

#[test]
fn a_back_end_links_no_transport() {
    check("im-sdk", "backend", &["redis", "async-nats"], &["quinn", "tokio-tungstenite", "sqlx"]);
    check("im-sdk", "postgres", &["sqlx-postgres"], &["sqlx-sqlite", "libsqlite3-sys", "rusqlite"]);
    check("im-sdk", "sql", &["sqlx", "sqlx-sqlite"], &["quinn", "tokio-tungstenite", "sqlx-mysql"]);
}

#[test]
fn a_server_without_the_feature_dev_links_no_back_end() {
    check("im-server", "", &["quinn", "redis", "async-nats"], &["redb", "sqlx", "unicode-normalization"]);
    check("im-server", "dev", &["redb"], &["sqlx"]);
}

#[test]
fn the_protocol_does_no_io() {
    check("im-proto", "", &["prost"], &["tokio", "rustls"]);
}

/// Tests that no HTTP framework comes with the SDK, the server or the bindings. Applications choose their own, as
/// `examples/axum` does.
#[test]
fn no_http_stack_comes_with_the_sdk() {
    let stacks = ["hyper", "h2", "axum", "actix-http", "reqwest", "ureq", "tower", "tower-http"];
    check("im-sdk", "backend client conformance serde sql sqlite", &["redis", "quinn", "sqlx"], &stacks);
    check("im-server", "", &["im-sdk", "quinn"], &stacks);
    check("im-ffi", "", &["im-sdk", "uniffi"], &stacks);
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
    for name in ["aws-lc-rs", "openssl"] {
        assert!(!lock.contains(&format!("\nname = \"{name}\"\n")), "{name} has come in");
    }
}

/// A dependency in a manifest, with its line.
struct Named {
    name: String,
    line: String,
}

/// Returns the dependencies in the sections of a manifest whose header contains `section`.
fn named(manifest: &str, section: &str) -> Vec<Named> {
    let mut inside = false;
    let mut found = Vec::new();
    for line in manifest.lines().map(str::trim) {
        if line.starts_with('[') {
            inside = line.contains(section);
            // A table for a single dependency, such as `[dependencies.name]`.
            if let Some((_, name)) = line.trim_end_matches(']').split_once("dependencies.") {
                found.push(Named { name: name.to_owned(), line: line.to_owned() });
            }
        } else if inside
            && !line.starts_with('#')
            && let Some((name, _)) = line.split_once('=')
        {
            let name = name.trim().trim_end_matches(".workspace");
            found.push(Named { name: name.to_owned(), line: line.to_owned() });
        }
    }
    found
}

fn read(file: &str) -> String {
    std::fs::read_to_string(format!("{}/../{file}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

/// Returns the manifest of the workspace, and those of its crates.
fn manifests() -> (String, Vec<(String, String)>) {
    let root = read("Cargo.toml");
    let members = root.split_once("members = [").unwrap().1.split_once(']').unwrap().0;
    let members: Vec<_> = members.split(',').map(|member| member.trim().trim_matches('"')).collect();
    assert!(members.len() > 5, "{members:?}");
    let crates = members.iter().map(|member| (member.to_string(), read(&format!("{member}/Cargo.toml"))));
    let crates = crates.collect();
    (root, crates)
}

#[test]
fn no_crate_names_a_version_itself() {
    let mut checked = 0;
    for (member, manifest) in manifests().1 {
        for Named { name, line } in named(&manifest, "dependencies]") {
            let inherited = line.contains("workspace = true") || line.contains("{ path = ");
            assert!(
                inherited && !line.contains("version ="),
                "{member} names {name} by itself: the root Cargo.toml does"
            );
            checked += 1;
        }
    }
    assert!(checked > 100, "only {checked} dependencies were found");
}

#[test]
fn what_the_workspace_names_is_used_and_has_its_reason() {
    let (root, crates) = manifests();
    let used: BTreeSet<_> = crates
        .iter()
        .flat_map(|(_, manifest)| named(manifest, "dependencies]"))
        .map(|dependency| dependency.name)
        .collect();
    let table = read("docs/dependencies.md");
    let reasons: BTreeSet<_> = table
        .lines()
        .filter_map(|line| line.strip_prefix("| ")?.split(" |").next())
        .flat_map(|names| names.split(", "))
        .collect();
    for Named { name, .. } in named(&root, "workspace.dependencies]") {
        assert!(used.contains(&name), "no crate uses {name}");
        let ours = name.starts_with("im-");
        assert!(
            ours || reasons.contains(name.as_str()),
            "docs/dependencies.md does not say why {name} is there"
        );
    }
}
