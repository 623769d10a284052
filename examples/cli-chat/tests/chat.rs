//! Three users chat over pipes, with the server that comes with the chat.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod pipes;

use std::{
    net::{TcpListener, UdpSocket},
    path::Path,
    process::Stdio,
};

use pipes::{Chat, command};

fn serve(data: &Path, port: u16) -> Chat {
    let mut server = Chat::start(data, &["serve", "--listen", &format!("127.0.0.1:{port}")]);
    server.wait("ready");
    server
}

/// Returns a free port, below those that the system assigns to connections.
fn free_port() -> u16 {
    loop {
        let port = rand::random_range(10_000..32_000);
        if TcpListener::bind(("127.0.0.1", port)).is_ok() && UdpSocket::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

#[test]
fn two_people_and_a_group_chat_and_come_back() {
    let data = tempfile::tempdir().unwrap();
    let data = data.path();
    let server = serve(data, 0);
    let mut alice = Chat::connect(data, "alice");
    alice.wait("no conversations yet");

    // Bob sees the messages that came while he was away.
    alice.say("/open bob");
    alice.wait("── bob");
    alice.say("hello, bob");
    alice.say("call me @bob");
    alice.wait("alice: call me @bob");
    let mut bob = Chat::connect(data, "bob");
    assert!(bob.wait("  alice  ").contains("2 unread, mentions you"));
    bob.wait("* 2 unread in all");
    alice.wait("* bob is online");
    bob.say("/open alice");
    let hello = bob.number("alice: hello, bob");
    let call = bob.number("alice: call me @bob");
    alice.wait("* bob has read 2");
    // Alice may see it a little earlier than bob's own list does.
    bob.repeat("/list", " unread in all", "* 0 unread in all");

    // Changes of messages show on the other side.
    bob.say(&format!("/react {hello} 👍"));
    alice.wait("alice: hello, bob 👍bob");
    alice.say("/edit 1 hello, Bob");
    assert_eq!(bob.wait("(edited)").trim(), format!("~{hello} alice: hello, Bob (edited) 👍bob"));
    bob.say(&format!("/reply {call} when?"));
    let when = alice.number("bob: «alice: call me @bob» when?");
    alice.say("/recall 2");
    assert_eq!(bob.wait("recalled").trim(), format!("~{call} alice: (recalled by alice)"));
    alice.say("oops");
    let oops = alice.number("alice: oops");
    bob.wait("alice: oops");
    alice.say(&format!("/recall {oops}"));
    bob.wait("(recalled by alice)");
    bob.say("/list");
    assert!(bob.wait("  alice  ").contains("alice: (recalled by alice)"));
    alice.say(&format!("/pin {when}"));
    bob.wait("when? (pinned)");
    // A refusal names the message by its number.
    bob.say(&format!("/edit {hello} mine"));
    assert_eq!(bob.wait("! "), format!("! message {hello} cannot be changed (edit): bob did not send it"));
    bob.say("/recall 99");
    bob.wait("! there is no message 99");
    bob.say("/nonsense");
    bob.wait("! there is no command /nonsense: /help");

    // A group: members are notified, and others are refused.
    let mut carol = Chat::connect(data, "carol");
    carol.wait("no conversations yet");
    alice.say("/group team bob");
    alice.wait("* alice has made the group with bob");
    bob.wait("[#team] * alice has made the group with bob");
    carol.say("/msg #team let me in");
    carol.wait("! not sent to #team: let me in: carol is not a member of channel team");
    carol.say("/group team carol");
    carol.wait("! #team has members: one of them can bring carol in");
    alice.say("hi, team");
    bob.wait("[#team] alice: hi, team");
    bob.say("/group team carol");
    carol.wait("[#team] * bob has brought in carol");
    carol.say("/msg #team hi from carol");
    let from_carol = alice.number("carol: hi from carol");
    alice.say(&format!("/readers {from_carol}"));
    alice.wait(&format!("* {from_carol} was read by "));
    alice.say("/members");
    alice.wait("* in #team: alice, bob, carol");
    carol.say("/leave team");
    carol.wait("* you are not in #team any more");
    bob.wait("* carol has left");

    // A chat ends with its input, and a restart shows everything.
    alice.say(&format!("/delete {from_carol}"));
    alice.wait("(deleted for you)");
    alice.say("/mute");
    alice.say("/open bob");
    alice.wait("── bob");
    alice.say("/top");
    alice.wait("* bob is at the top of the list");
    let (all_done, _) = alice.end();
    assert!(all_done);
    let (all_done, _) = bob.end();
    assert!(!all_done, "bob wanted what he may not");
    drop(server);
    let _server = serve(data, 0);
    let mut alice = Chat::connect(data, "alice");
    assert!(alice.wait("  bob  ").contains("at the top"));
    assert!(alice.wait("  #team  ").contains("muted"));
    alice.say("/open bob");
    alice.wait("alice: hello, Bob (edited) 👍bob");
    alice.wait("alice: (recalled by alice)");
    // A quote of a recalled message does not show its text either.
    alice.wait("bob: «alice: (recalled)» when? (pinned)");
    alice.wait("* bob has read");
    alice.say("/open #team");
    alice.wait("alice: hi, team");
    assert!(alice.wait("* ").contains("bob has brought in carol"));
    assert!(alice.wait("* ").contains("carol has left"));
    assert!(!alice.seen.iter().any(|line| line.contains("hi from carol")), "it is deleted for alice");
    alice.say("/search hello");
    // Search finds the text of the edit, not the former one.
    alice.wait("[bob] alice: hello, Bob");
}

#[test]
fn what_is_written_without_a_connection_is_sent_later() {
    let data = tempfile::tempdir().unwrap();
    let data = data.path();
    let nobody = Chat::start(data, &["alice"]);
    assert!(!nobody.end().0, "there is no server, and never was");
    let port = free_port();
    let server = serve(data, port);
    let mut alice = Chat::connect(data, "alice");
    alice.say("/open bob");
    alice.wait("── bob");
    alice.say("hello");
    alice.wait("alice: hello");
    server.terminate();
    alice.wait("* not connected");
    alice.say("are you there?");
    alice.wait("… alice to bob: are you there? (not sent yet)");
    alice.say("/queue");
    alice.wait("* pending to bob: are you there?");
    alice.say("/search there");
    alice.wait("! cannot search: there is no connection");
    let (all_done, seen) = alice.end();
    assert!(!all_done && seen.last().is_some_and(|line| line.contains("1 not sent yet")), "{seen:?}");

    // The next run begins without a server, too. Once the server is back, the messages come.
    let mut alice = Chat::start(data, &["alice"]);
    alice.wait("* does `cli-chat serve` run?");
    alice.say("/open bob");
    alice.wait("* not connected: what was said is shown when there is a connection");
    let _server = serve(data, port);
    alice.wait("* connected as alice");
    alice.wait("── bob");
    alice.wait("alice: hello");
    alice.wait("alice: are you there?");
    let bob = Chat::connect(data, "bob");
    let (all_done, seen) = bob.end();
    assert!(all_done && seen.iter().any(|line| line.starts_with("  alice  2 unread")), "{seen:?}");
    assert!(seen.iter().all(|line| !line.contains('\x1b')), "a pipe gets no escapes: {seen:?}");
}

/// The token in the environment is used only with `--server`.
#[test]
fn a_token_in_the_environment_is_in_nobodys_way() {
    let data = tempfile::tempdir().unwrap();
    let data = data.path();
    let port = free_port();
    let url = format!("ws://127.0.0.1:{port}");
    let start = |arguments: &[&str]| {
        let mut command = command(data, arguments);
        command.env("CHAT_TOKEN", "not a token");
        Chat::run(arguments, command)
    };
    let mut server = start(&["serve", "--listen", &format!("127.0.0.1:{port}")]);
    server.wait("ready");
    start(&["alice"]).wait("* connected as alice");
    start(&["bob", "--server", &url]).wait("token");
    let output = command(data, &["bob", "--server", &url]).stdin(Stdio::null()).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && error.contains("CHAT_TOKEN"), "{error}");
}
