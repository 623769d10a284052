//! The program on free ports, and people who use it.

use std::{
    io::{BufRead as _, BufReader},
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        mpsc::{Receiver, channel},
    },
    thread,
    time::Duration,
};

use im_sdk::client::{Client, ClientConfig, Event};
use reqwest::{Method, StatusCode, header::SET_COOKIE};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::timeout;

/// The time limit of every wait.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The program or the cluster, ended when dropped.
pub(crate) struct Program {
    child: Child,
    address: String,
    lines: Receiver<String>,
    http: reqwest::Client,
    _data: Option<TempDir>,
}

impl Program {
    /// Starts it with an empty directory.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let data = tempfile::tempdir().unwrap();
        let mut program = Self::start_in(data.path(), arguments);
        program._data = Some(data);
        program
    }

    pub(crate) fn start_in(data: &Path, arguments: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_chat"));
        command
            .args(["--listen", "127.0.0.1:0", "--devices", "127.0.0.1:0", "--data"])
            .arg(data)
            .args(arguments);
        Self::spawn(command)
    }

    /// Starts the script that makes a cluster on this machine.
    pub(crate) fn start_cluster() -> Self {
        let chat = Path::new(env!("CARGO_BIN_EXE_chat"));
        let server = chat.with_file_name("im-server");
        assert!(server.exists(), "{} is missing: run `cargo build --workspace --bins`", server.display());
        let mut command = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/cluster.sh"));
        command
            .arg("--programs")
            .arg(chat.parent().unwrap())
            .arg("--port")
            .arg(free_ports().to_string())
            .arg("--");
        Self::spawn(command)
    }

    fn spawn(mut command: Command) -> Self {
        _ = rustls::crypto::ring::default_provider().install_default();
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = channel();
        thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        let mut program =
            Self { child, address: String::new(), lines, http: reqwest::Client::new(), _data: None };
        program.address = program.line("open ");
        program
    }

    /// Waits for a line with this beginning. Returns the rest of it.
    pub(crate) fn line(&self, start: &str) -> String {
        loop {
            let line = self.lines.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("no line {start:?}"));
            if let Some(rest) = line.strip_prefix(start) {
                return rest.to_owned();
            }
        }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.address)
    }

    pub(crate) fn http(&self) -> &reqwest::Client {
        &self.http
    }

    /// Sends a request of somebody who is not signed in.
    pub(crate) async fn ask(&self, method: Method, path: &str, body: Value) -> Answer {
        let request = self.http.request(method, self.url(path)).header("X-Chat", "1").json(&body);
        Answer::of(request.send().await.unwrap()).await
    }

    /// Creates an account.
    pub(crate) async fn person(&self, id: &str) -> Person<'_> {
        let account = json!({ "id": id, "name": id, "password": format!("{id}-password"), "language": "en", "device_name": "test" });
        let answer = self.ask(Method::POST, "/api/accounts", account).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.body);
        Person { program: self, id: id.to_owned(), token: answer.token(), cookie: answer.cookie.unwrap() }
    }

    /// Creates accounts, each a friend of all others.
    pub(crate) async fn friends<const N: usize>(&self, ids: [&str; N]) -> [Person<'_>; N] {
        let mut people = Vec::new();
        for id in ids {
            let person = self.person(id).await;
            for other in &people {
                person.befriend(other).await;
            }
            people.push(person);
        }
        people.try_into().unwrap_or_else(|_| unreachable!())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // The script ends what it has started.
        let pid = Pid::from_child(&self.child);
        _ = kill_process(pid, Signal::TERM);
        _ = self.child.wait();
    }
}

/// Returns the first of 16 ports in a row that are free.
fn free_ports() -> u16 {
    let is_free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
    let from = 20_000 + (std::process::id() % 500) as u16 * 16;
    let mut blocks = (from..28_000).chain(20_000..from).step_by(16);
    blocks.find(|first| (*first..first + 16).all(is_free)).unwrap()
}

/// An answer of the API.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) body: Value,
    /// The value of the cookie that it sets.
    pub(crate) cookie: Option<String>,
}

impl Answer {
    pub(crate) async fn of(response: reqwest::Response) -> Self {
        let status = response.status();
        let cookie = response.headers().get(SET_COOKIE).map(|cookie| {
            let cookie = cookie.to_str().unwrap();
            for attribute in ["HttpOnly", "SameSite=Strict", "Path=/api/sessions"] {
                assert!(cookie.contains(attribute), "{cookie}");
            }
            cookie.split(';').next().unwrap().to_owned()
        });
        Self { status, body: response.json().await.unwrap_or_default(), cookie }
    }

    pub(crate) fn token(&self) -> String {
        self.body["access_token"].as_str().unwrap_or_else(|| panic!("no token: {}", self.body)).to_owned()
    }

    /// Returns the code of the refusal.
    pub(crate) fn code(&self) -> &str {
        let error = &self.body["error"];
        assert!(error["text"]["en"].is_string() && error["text"]["zh"].is_string(), "no text: {}", self.body);
        error["code"].as_str().unwrap()
    }
}

/// Somebody who is signed in.
pub(crate) struct Person<'a> {
    pub(crate) program: &'a Program,
    pub(crate) id: String,
    pub(crate) token: String,
    pub(crate) cookie: String,
}

impl Person<'_> {
    pub(crate) async fn ask(&self, method: Method, path: &str, body: Value) -> Answer {
        let request = self.program.http().request(method, self.program.url(path));
        let request = request.header("X-Chat", "1").bearer_auth(&self.token).json(&body);
        Answer::of(request.send().await.unwrap()).await
    }

    /// Sends a request that must succeed.
    pub(crate) async fn ok(&self, method: Method, path: &str, body: Value) -> Value {
        let answer = self.ask(method.clone(), path, body).await;
        assert!(answer.status.is_success(), "{} {method} {path}: {} {}", self.id, answer.status, answer.body);
        answer.body
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        self.ok(Method::GET, path, Value::Null).await
    }

    /// Sends a request that must be refused with this code.
    pub(crate) async fn refused(&self, method: Method, path: &str, body: Value, code: &str) {
        let answer = self.ask(method.clone(), path, body).await;
        assert!(
            answer.status.is_client_error(),
            "{} {method} {path}: {} {}",
            self.id,
            answer.status,
            answer.body
        );
        assert_eq!(answer.code(), code, "{} {method} {path}", self.id);
    }

    pub(crate) async fn befriend(&self, other: &Person<'_>) {
        self.ok(Method::POST, &format!("/api/friends/{}", other.id), json!({})).await;
        let answer = other.ok(Method::POST, &format!("/api/friends/{}", self.id), json!({})).await;
        assert_eq!(answer["state"], "friends");
    }

    /// Creates a group of friends. Returns its id.
    pub(crate) async fn group(&self, name: &str, members: &[&Person<'_>]) -> String {
        let members: Vec<_> = members.iter().map(|member| &member.id).collect();
        let group = self.ok(Method::POST, "/api/groups", json!({ "name": name, "members": members })).await;
        group["id"].as_str().unwrap().to_owned()
    }

    /// Connects a device of the SDK, as any other client than the page would.
    pub(crate) async fn device(&self, device: &str) -> Client {
        let answer = self.ok(Method::POST, "/api/im-token", json!({ "device": device })).await;
        let endpoints = answer["endpoints"].as_array().unwrap().iter();
        let endpoints = endpoints.map(|endpoint| endpoint.as_str().unwrap().parse().unwrap()).collect();
        let token = answer["token"].as_str().unwrap().to_owned();
        let client =
            Client::open(ClientConfig::new(endpoints, device.parse().unwrap(), Arc::new(token))).unwrap();
        client.connect();
        next(&client, "it is up to date", |event| matches!(event, Event::UpToDate)).await;
        client
    }
}

/// Waits for an event.
pub(crate) async fn next(client: &Client, what: &str, is_it: impl Fn(&Event) -> bool) -> Event {
    let wait = async {
        loop {
            let events = client.next_events(1).await;
            let event = events.into_iter().next().unwrap_or_else(|| panic!("closed before {what}"));
            if is_it(&event) {
                return event;
            }
        }
    };
    timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("not in time: {what}"))
}

/// Waits for a message with this text.
pub(crate) async fn text(client: &Client, text: &str) -> Event {
    let is_it =
        |event: &Event| matches!(event, Event::Message(message) if message.content.as_text() == Some(text));
    next(client, text, is_it).await
}
