//! Devices with wrong clocks work without anybody noticing.

use std::{env, path::Path, process::Stdio, sync::Arc};

use im_sdk::{
    client::{Client, ClientConfig, device_store::SqliteStore},
    content::Content,
    id::UserId,
};
use im_tests::{Setup, Stack, Via, channels::serve, stack::token};
use tokio::process::Command;

/// Library of Debian's package `faketime`.
const FAKETIME: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1";

/// Environment variable that turns this binary into a phone: endpoint, token, file of its store and text, each on a
/// line.
const PHONE: &str = "IM_TEST_PHONE";

/// Connects as a phone, publishes a text to bob, and closes once the back end has accepted it.
async fn be_a_phone(told: &str) {
    let [endpoint, token, store, text] = told.lines().collect::<Vec<_>>().try_into().unwrap();
    let device = "ios/phone".parse().unwrap();
    let mut config = ClientConfig::new(vec![endpoint.parse().unwrap()], device, Arc::new(token.to_owned()));
    config.store = Arc::new(SqliteStore::open(store).unwrap());
    let client = Client::open(config).unwrap();
    client.connect();
    client.send(UserId::parse("bob").unwrap(), Content::text(text)).outcome().await.unwrap();
    client.shutdown().await;
}

/// Runs a phone in a process whose clock is off by `offset`.
async fn phone(offset: &str, endpoint: &str, store: &Path, text: &str) {
    let told = [endpoint, &token("alice"), &store.display().to_string(), text].join("\n");
    let mut command = Command::new(env::current_exe().unwrap());
    command.args([
        "--exact",
        "operations::device_clocks::a_phone_with_a_wrong_clock_loses_nothing",
        "--nocapture",
    ]);
    command.env(PHONE, told).env("LD_PRELOAD", FAKETIME).env("FAKETIME", offset);
    command.env("FAKETIME_DONT_FAKE_MONOTONIC", "1").env("DONT_FAKE_MONOTONIC", "1").stdin(Stdio::null());
    let output = command.kill_on_drop(true).output().await.unwrap();
    assert!(output.status.success(), "{text}: {}", String::from_utf8_lossy(&output.stdout));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_phone_with_a_wrong_clock_loses_nothing() {
    if let Ok(told) = env::var(PHONE) {
        return be_a_phone(&told).await;
    }
    assert!(Path::new(FAKETIME).exists(), "{FAKETIME} is needed: install the package faketime");
    let stack = Stack::start(Setup::Embedded, 1).await;
    let im = stack.backend().await;
    let _service = serve(&im).await;
    let mut bob = stack.connect("bob", "web/tab", 0, Via::WebSocket).await;
    bob.up_to_date().await;
    let folder = tempfile::tempdir().unwrap();
    for (offset, store, text) in [
        ("+0s", "one", "a clock that is right"),
        ("+365d", "one", "a year ahead"),
        ("-365d", "one", "a year behind"),
        ("-365d", "two", "installed anew, a year behind"),
        ("-365d", "two", "and once more"),
        ("+0s", "three", "installed anew, right again"),
        ("+365d", "four", "installed anew, a year ahead"),
        ("+0s", "five", "installed anew, and right again"),
    ] {
        phone(offset, &stack.servers[0].endpoint(Via::WebSocket), &folder.path().join(store), text).await;
        assert_eq!(bob.text().await, text);
    }
}
