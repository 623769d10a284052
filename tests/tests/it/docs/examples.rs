//! The examples as programs, run as README.md shows them. `cli-chat` has tests of its own.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Child, ChildStdin, Command, Stdio},
    sync::{
        Arc,
        mpsc::{Receiver, channel},
    },
    thread,
};

use im_sdk::{
    client::{Client, ClientConfig, PublishError},
    cluster::{Cluster, ClusterConfig},
};
use im_tests::{
    ImServer, NatsServer, RedisServer, TestClient, binary,
    stack::{Certificate, PATIENCE, ServerOptions, variables},
    wait_until,
};
use rustix::process::{Pid, Signal, kill_process};

/// Secret shared by the servers and the back end.
const SECRET: &str = "a secret that is shared by the servers and the back end";

/// An interactive program, killed when dropped.
struct Program {
    child: Child,
    input: Option<ChildStdin>,
    lines: Receiver<String>,
    /// Its output so far, shown when a test fails.
    seen: Vec<String>,
}

impl Program {
    fn start(command: &mut Command) -> Self {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = channel();
        // The thread ends with the program's output.
        thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Self { input: child.stdin.take(), child, lines, seen: Vec::new() }
    }

    fn say(&mut self, line: &str) {
        writeln!(self.input.as_mut().unwrap(), "{line}").unwrap();
    }

    /// Waits for the next line with this beginning, and returns the rest of it.
    fn hear(&mut self, start: &str) -> String {
        loop {
            let Ok(line) = self.lines.recv_timeout(PATIENCE) else {
                panic!("it does not say {start:?}. It said:\n{}", self.seen.join("\n"));
            };
            self.seen.push(line.clone());
            if let Some(rest) = line.strip_prefix(start) {
                return rest.to_owned();
            }
        }
    }

    /// Closes its input, waits for its exit, and returns the remaining output.
    fn end(mut self) -> Vec<String> {
        drop(self.input.take());
        self.rest()
    }

    /// Like [`Self::end`], for a program that keeps running without input.
    fn terminate(self) -> Vec<String> {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        self.rest()
    }

    fn rest(mut self) -> Vec<String> {
        let mut rest = Vec::new();
        while let Ok(line) = self.lines.recv_timeout(PATIENCE) {
            rest.push(line);
        }
        assert!(self.child.wait().unwrap().success(), "{rest:?}");
        rest
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have exited by itself.
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

#[test]
fn quickstart_prints_what_the_readme_says() {
    let readme = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md")).unwrap();
    let shown = readme.split("which prints\n\n```text\n").nth(1).unwrap().split("```").next().unwrap();
    let mut printed = Program::start(&mut Command::new(binary("quickstart"))).end().join("\n");
    printed.push('\n');
    assert_eq!(printed, shown);
}

/// Starts a server with the back end's key.
async fn server(redis: &RedisServer, nats: &NatsServer, certificate: &Certificate) -> ImServer {
    let mut variables = variables(&ServerOptions::default(), certificate);
    for (name, value) in &mut variables {
        match name.as_str() {
            "IM_AUTH_ISSUER" => *value = "my-backend".into(),
            "IM_AUTH_AUDIENCE" => *value = "im".into(),
            "IM_AUTH_HS256_KEY_ID" => *value = "k1".into(),
            "IM_AUTH_HS256_SECRET" => *value = SECRET.into(),
            _ => {}
        }
    }
    ImServer::start("im1", &redis.address(), &nats.address(), &variables).await
}

fn device(endpoint: &str, token: &str, certificate: &Certificate) -> TestClient {
    let token = Arc::new(token.to_owned());
    let mut config = ClientConfig::new(vec![endpoint.parse().unwrap()], "ios/phone".parse().unwrap(), token);
    config.trust = certificate.trust();
    let client = Client::open(config).unwrap();
    client.connect();
    TestClient::new(client)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_back_end_works_in_a_deployment() {
    let (redis, nats, certificate) =
        (RedisServer::start().await, NatsServer::start().await, Certificate::make());
    let server = server(&redis, &nats, &certificate).await;
    let [quic, websocket] = server.endpoints() else { panic!("{server:?}") };
    let cluster = Cluster::connect(ClusterConfig::new([redis.address()], [nats.address()])).await.unwrap();
    wait_until("the server is registered", PATIENCE, async || {
        !cluster.routes().live_servers().await.unwrap().is_empty()
    })
    .await;

    let mut backend = Command::new(binary("backend"));
    backend.args(["--redis", &redis.address(), "--nats", &nats.address(), "--secret", SECRET]);
    let mut backend = Program::start(&mut backend);
    assert!(backend.hear("server im1-").ends_with(&format!("with 0 connections: [{quic:?}, {websocket:?}]")));
    let tokens = [backend.hear("token for alice: "), backend.hear("token for bob: ")];
    backend.hear("type a user and a text");

    // Devices talk to each other through it, over both transports.
    let mut alice = device(quic, &tokens[0], &certificate);
    alice.connected().await;
    let mut bob = device(websocket, &tokens[1], &certificate);
    bob.connected().await;
    alice.publish("bob", "lunch?").await.unwrap();
    assert_eq!(bob.text().await, "lunch?");
    assert!(backend.hear("alice -> bob: ").contains("lunch?"));
    let refused = alice.publish("bob", "spam").await.unwrap_err();
    assert!(matches!(refused, PublishError::Refused { .. }), "{refused:?}");
    assert!(refused.to_string().ends_with("no spam, please"), "{refused}");

    // The back end also sends by itself.
    backend.say("alice hello");
    assert_eq!(backend.hear("pushed to "), "1 devices, offline: []");
    while alice.text().await != "hello" {}
    backend.say("carol hello");
    assert!(backend.hear("pushed to 0 devices, offline: ").contains("carol"));
    backend.say("al{ice hello");
    assert!(backend.hear("not sent: ").contains("al{ice"));

    // The chat, with a token of this back end.
    let data = tempfile::tempdir().unwrap();
    let mut chat = Command::new(binary("cli-chat"));
    chat.args(["alice", "--server", websocket, "--data"]).arg(data.path()).env("CHAT_TOKEN", &tokens[0]);
    let mut chat = Program::start(&mut chat);
    chat.hear("* connected as alice");
    chat.say("/open bob");
    chat.say("from the terminal");
    chat.end();
    while bob.text().await != "from the terminal" {}
    assert_eq!(backend.terminate().len(), 1, "one message more");
}
