//! A deployment of processes, an attacker, and bystanders that must not notice the attack.

use std::{collections::HashMap, fmt, time::Duration};

use im_proto::{pb, pb::frame::Body};
use im_sdk::backend::Im;
use im_tests::{
    Bystander, Program, RedisServer, Setup, Stack, Via,
    bystander::BystanderReport,
    memory::{Memory, mib},
    permissions::Role,
    raw::{Heard, Raw},
    stack::{PATIENCE, ServerOptions, token},
};
use tempfile::TempDir;
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::{Instant, timeout},
};

/// Interval between two rounds of the bystander.
const PACE: Duration = Duration::from_millis(100);

/// Time limit of a bystander's step on a machine that also runs the attack and other tests, in a debug build.
pub(crate) const UNNOTICED: Duration = Duration::from_secs(3);

/// Permits for attacks that run at once, whatever the number of test threads: the latencies of bystanders are measured.
static TURNS: Semaphore = Semaphore::const_new(2);

/// Redis, NATS, an `im-server` and a back end, each a process of its own; and a back end in this process that sends.
pub(crate) struct Arena {
    pub(crate) stack: Stack,
    pub(crate) backend: Program,
    pub(crate) im: Im,
    _folder: Option<TempDir>,
    _turn: SemaphorePermit<'static>,
}

impl Arena {
    /// Starts one with default settings.
    pub(crate) async fn start() -> Self {
        Self::start_with(ServerOptions::default(), false).await
    }

    /// Starts one whose back end archives everything in a database and searches it.
    pub(crate) async fn with_database() -> Self {
        Self::start_with(ServerOptions::default(), true).await
    }

    pub(crate) async fn start_with(options: ServerOptions, database: bool) -> Self {
        let turn = TURNS.acquire().await.unwrap();
        let stack = Stack::start_with(Setup::Clustered, 1, options).await;
        let folder = database.then(|| tempfile::tempdir().unwrap());
        let url = folder.as_ref().map(|folder| format!("sqlite:{}", folder.path().join("m.db").display()));
        let backend = start_backend(&stack, url.as_deref(), &[]).await;
        let im = stack.backend().await;
        Self { stack, backend, im, _folder: folder, _turn: turn }
    }

    pub(crate) fn redis(&self) -> &RedisServer {
        &self.stack.services().unwrap().redis
    }

    /// Runs an attack beside a bystander, and returns the result and a report.
    pub(crate) async fn beside<T>(&self, what: &'static str, attack: impl Future<Output = T>) -> (T, Report) {
        let before = self.sample().await;
        let bystander = Bystander::start(&self.stack, &self.im, PACE).await;
        let started = Instant::now();
        let came = attack.await;
        let took = started.elapsed();
        let bystander = bystander.stop().await;
        let report = Report { what, took, before, after: self.sample().await, bystander };
        println!("hostile: {report}");
        (came, report)
    }

    async fn sample(&self) -> Sample {
        Sample {
            server: Memory::of(self.stack.servers[0].process().process_id()),
            backend: Memory::of(self.backend.id()),
            redis: info(self.redis()).await,
        }
    }
}

/// Starts another back end as a process. With a database, it archives and searches.
pub(crate) async fn start_backend(
    stack: &Stack,
    database: Option<&str>,
    variables: &[(&str, &str)],
) -> Program {
    let services = stack.services().unwrap();
    let (redis, nats) = services.addresses(Role::Backend);
    let arguments: Vec<&str> = [&*redis, &*nats].into_iter().chain(database).collect();
    let mut backend = Program::start("plain-backend", &arguments, variables);
    backend.printed("ready").await;
    backend
}

/// Memory of the processes and statistics of Redis.
pub(crate) struct Sample {
    pub(crate) server: Memory,
    pub(crate) backend: Memory,
    pub(crate) redis: HashMap<String, u64>,
}

/// Effects of an attack.
pub(crate) struct Report {
    pub(crate) what: &'static str,
    pub(crate) took: Duration,
    pub(crate) before: Sample,
    pub(crate) after: Sample,
    pub(crate) bystander: BystanderReport,
}

impl Report {
    /// Returns the growth of the server's memory at its peak, in MiB.
    pub(crate) fn server_grew(&self) -> f64 {
        mib(self.after.server.peak_since(self.before.server))
    }

    /// Returns the growth of the back end's memory at its peak, in MiB.
    pub(crate) fn backend_grew(&self) -> f64 {
        mib(self.after.backend.peak_since(self.before.backend))
    }

    /// Returns the growth of a statistic of Redis.
    pub(crate) fn redis_grew(&self, figure: &str) -> u64 {
        let of = |sample: &Sample| sample.redis.get(figure).copied().unwrap_or(0);
        of(&self.after).saturating_sub(of(&self.before))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{} | {:.1} s | server +{:.1} MiB, back end +{:.1} MiB, Redis +{:.1} MiB held, {:.1} MiB sent, {} commands, {} keys \
             more | {}",
            self.what,
            self.took.as_secs_f64(),
            self.server_grew(),
            self.backend_grew(),
            mib(self.redis_grew("used_memory")),
            mib(self.redis_grew("total_net_output_bytes")),
            self.redis_grew("total_commands_processed"),
            self.redis_grew("keys"),
            self.bystander,
        )
    }
}

/// Returns the numeric statistics of Redis, and the number of `keys`.
pub(crate) async fn info(redis: &RedisServer) -> HashMap<String, u64> {
    let mut connection = redis.connection().await;
    let mut asked = redis::pipe();
    asked.cmd("INFO").arg("everything").cmd("DBSIZE");
    let (text, keys): (String, u64) = asked.query_async(&mut connection).await.unwrap();
    let pair = |line: &str| {
        let (name, value) = line.split_once(':')?;
        Some((name.to_owned(), value.trim().parse().ok()?))
    };
    text.lines().filter_map(pair).chain([("keys".to_owned(), keys)]).collect()
}

/// Connects a device of the attacker, without a client, and waits until it is up to date.
pub(crate) async fn attacker(stack: &Stack, user: &str) -> Raw {
    terminal(stack, user, pb::Terminal::Web, "raw").await
}

/// Connects a device of the attacker on this terminal.
pub(crate) async fn terminal(stack: &Stack, user: &str, terminal: pb::Terminal, device: &str) -> Raw {
    let mut raw = Raw::connect(stack, 0, Via::WebSocket).await;
    let device = pb::Device { terminal: terminal.into(), id: device.into() };
    let hello = pb::Hello {
        min_version: 1,
        max_version: 1,
        token: token(user),
        device: Some(device),
        client: "raw/1".into(),
        cursors: Vec::new(),
        resumes: false,
    };
    raw.send_frame(Body::Hello(hello)).await;
    until(&mut raw, |body| matches!(body, Body::SyncDone(_))).await;
    raw
}

/// Waits for a frame, and skips others.
pub(crate) async fn until(raw: &mut Raw, wanted: impl Fn(&Body) -> bool) {
    loop {
        match raw.heard().await {
            Heard::Frame(body) if wanted(&body) => return,
            Heard::Frame(_) => {}
            Heard::Closed(code) => panic!("closed: {code}"),
        }
    }
}

/// Terminals that a user can have at once under the default login policy.
pub(crate) const TERMINALS: [pb::Terminal; 6] = [
    pb::Terminal::Web,
    pb::Terminal::Android,
    pb::Terminal::Ios,
    pb::Terminal::Desktop,
    pb::Terminal::MiniProgram,
    pb::Terminal::Other,
];

/// Returns a publish of a text to a user.
pub(crate) fn text(number: u64, to: &str, text: impl Into<String>) -> Body {
    let body = pb::content::Body::Text(pb::Text { text: text.into() });
    Body::Publish(pb::Publish { number, to: to.into(), content: Some(body.into()), ..Default::default() })
}

/// Results of many publishes.
#[derive(Debug, Default)]
pub(crate) struct Published {
    pub(crate) accepted: u64,
    /// Number of refusals by kind.
    pub(crate) refused: HashMap<pb::RefusalKind, u64>,
    /// Longest retry delay.
    pub(crate) longest_wait_ms: u32,
    /// The close code, if the connection was closed.
    pub(crate) closed: Option<im_proto::close::CloseCode>,
}

impl Published {
    pub(crate) fn refused(&self, kind: pb::RefusalKind) -> u64 {
        self.refused.get(&kind).copied().unwrap_or(0)
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.accepted += other.accepted;
        other.refused.into_iter().for_each(|(kind, count)| *self.refused.entry(kind).or_default() += count);
        self.longest_wait_ms = self.longest_wait_ms.max(other.longest_wait_ms);
        self.closed = self.closed.or(other.closed);
    }
}

/// Publishes as fast as the protocol allows, for a time or until all is done, regardless of refusals.
pub(crate) async fn publish_all(
    raw: &mut Raw,
    publishes: impl IntoIterator<Item = Body>,
    within: Duration,
) -> Published {
    const IN_FLIGHT: usize = 60;
    let deadline = Instant::now() + within;
    let mut publishes = publishes.into_iter();
    let (mut waiting, mut published) = (0, Published::default());
    loop {
        while waiting < IN_FLIGHT && Instant::now() < deadline {
            let Some(publish) = publishes.next() else { break };
            raw.send_frame(publish).await;
            waiting += 1;
        }
        if waiting == 0 {
            return published;
        }
        match timeout(PATIENCE, raw.heard()).await.unwrap() {
            Heard::Frame(Body::PublishResult(result)) => {
                waiting -= 1;
                match result.outcome.unwrap() {
                    pb::publish_result::Outcome::Accepted(_) => published.accepted += 1,
                    pb::publish_result::Outcome::Refused(refused) => {
                        *published.refused.entry(refused.kind()).or_default() += 1;
                        published.longest_wait_ms = published.longest_wait_ms.max(refused.retry_after_ms);
                    }
                }
            }
            Heard::Frame(_) => {}
            Heard::Closed(code) => {
                published.closed = Some(code);
                return published;
            }
        }
    }
}
