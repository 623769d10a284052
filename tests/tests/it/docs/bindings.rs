//! The generated Python module: without a server, against a server in this process, and against a real deployment.

use std::{fs, path::Path, process::Command};

use im_sdk::{Conversation, HistoryRange, backend::Incoming};
use im_tests::{Setup, Stack, Via, binary, everywhere, stack::token};

everywhere!(two_python_devices_talk);

/// Runs a program to its end, and shows its output if it fails.
fn run(command: &mut Command) {
    let output = command.output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?} ended with {}:\n{out}\n{err}", output.status);
}

fn generate_python(directory: &Path) {
    let library = binary("libim_ffi.so");
    let mut generate = Command::new(binary("uniffi-bindgen"));
    // The generator asks cargo about the workspace.
    generate.current_dir(env!("CARGO_MANIFEST_DIR")).arg("generate").arg(&library);
    run(generate.args(["--language", "python", "--out-dir"]).arg(directory));
    fs::copy(library, directory.join("libim_ffi.so")).unwrap();
}

fn smoke(directory: &Path) -> Command {
    let mut smoke = Command::new("python3");
    smoke.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/../bindings/python/smoke.py")).arg(directory);
    smoke
}

#[test]
fn without_a_server_python_is_told_what_is_wrong() {
    let directory = tempfile::tempdir().unwrap();
    generate_python(directory.path());
    run(smoke(directory.path()).arg("--offline"));
}

async fn two_python_devices_talk(setup: Setup, via: Via) {
    let directory = tempfile::tempdir().unwrap();
    generate_python(directory.path());
    let stack = Stack::start(setup, 1).await;
    let im = stack.backend().await;
    let _service = im.serve(|incoming: Incoming| async move { Ok(incoming.accept()) }).await.unwrap();
    im.channel("team").add_members(["alice", "bob"]).await.unwrap();
    let mut smoke = smoke(directory.path());
    smoke
        .args(["--endpoint", &stack.servers[0].endpoint(via)])
        .args(["--trust-sha256", &stack.certificate.sha256_hex()])
        .args(["--from-user", "alice", "--from-token", &token("alice")])
        .args(["--to-user", "bob", "--to-token", &token("bob"), "--channel", "team"]);
    tokio::task::spawn_blocking(move || run(&mut smoke)).await.unwrap();
}

/// Texts typed into `bindings/python/chat.py`, which `bindings/README.md` shows, arrive.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_typed_into_the_example_arrives() {
    let directory = tempfile::tempdir().unwrap();
    generate_python(directory.path());
    let stack = Stack::start(Setup::Embedded, 1).await;
    let im = stack.backend().await;
    let _service = im.serve(|incoming: Incoming| async move { Ok(incoming.accept()) }).await.unwrap();
    let typed = directory.path().join("typed");
    fs::write(&typed, "hello from the example\n").unwrap();
    let mut chat = Command::new("python3");
    chat.env("PYTHONPATH", directory.path())
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/../bindings/python/chat.py"))
        .args([
            &stack.servers[0].endpoint(Via::Quic),
            &token("alice"),
            "bob",
            &stack.certificate.sha256_hex(),
        ])
        .stdin(fs::File::open(typed).unwrap());
    tokio::task::spawn_blocking(move || run(&mut chat)).await.unwrap();
    let alice = "alice".parse().unwrap();
    let page = im.history("bob", &Conversation::User(alice), HistoryRange::Newest, 1).await.unwrap();
    assert_eq!(page.entries[0].content.as_text(), Some("hello from the example"));
}
