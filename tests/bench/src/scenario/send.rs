//! `send`: the send rate of the SDK, without devices. A stand-in for the server answers at once.
//!
//! The SDK runs in turn with a floor, in the same process: the floor sends the Redis commands and envelopes of as many
//! messages as prebuilt bytes, over one connection each, and awaits every answer.

mod floor;
mod stand_in;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use im_sdk::{
    backend::{Durability, Im, Message, user},
    cluster::{Claim, Cluster, ClusterConfig, LoginPolicy, Route},
    id::{ConnectionId, ServerId, UserId},
};
use im_tests::{NatsServer, RedisServer};
use serde::{Deserialize, Serialize};
use tokio::runtime::Runtime;

use self::{floor::Floor, stand_in::StandIn};
use crate::{
    report::{Rows, grouped},
    target::Path,
    usage,
};

/// Number of messages that are sent at once.
const LANES: usize = 512;

/// Number of rounds of each.
const ROUNDS: usize = 5;

/// See the module's description.
#[derive(Clone, Debug)]
pub(crate) struct Send {
    /// `Live` or `Logged`.
    pub(crate) path: Path,
    /// Number of recipients, each with one device.
    pub(crate) connections: u32,
    /// Size of a message's text.
    pub(crate) payload: usize,
    /// Total duration.
    pub(crate) seconds: f64,
}

/// Medians of all rounds.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct SendReport {
    scenario: String,
    path: String,
    connections: u32,
    payload_bytes: usize,
    sends_per_s: f64,
    floor_per_s: f64,
    /// Ratio of the SDK's rate to the floor's.
    ratio: f64,
    /// Processor time of this process, including the stand-in's.
    cpu_us_per_send: f64,
    records_per_envelope: f64,
}

impl std::fmt::Display for SendReport {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { path, sends_per_s, floor_per_s, ratio, cpu_us_per_send, records_per_envelope, .. } = self;
        write!(
            formatter,
            "send {path}: {sends_per_s:.0}/s, {cpu_us_per_send:.1} us of CPU each, {records_per_envelope:.0} in an \
             envelope; floor {floor_per_s:.0}/s; ratio {ratio:.2}"
        )
    }
}

impl SendReport {
    /// Returns the rows of a table.
    pub(crate) fn rows(&self) -> Rows {
        vec![
            ("scenario", self.scenario.clone()),
            ("path", self.path.clone()),
            ("recipients", grouped(self.connections.into())),
            ("sends/s", grouped(self.sends_per_s as u64)),
            ("floor/s", grouped(self.floor_per_s as u64)),
            ("ratio", format!("{:.2}", self.ratio)),
            ("CPU/send", format!("{:.1} us", self.cpu_us_per_send)),
            ("records/envelope", format!("{:.0}", self.records_per_envelope)),
        ]
    }
}

impl Send {
    /// Runs the scenario.
    ///
    /// # Errors
    /// Returns the step that failed.
    pub(crate) fn run(&self) -> Result<SendReport, String> {
        if self.path == Path::Edge {
            return Err("--path live or --path logged: nothing is sent on the edge".to_owned());
        }
        let runtime = Runtime::new().map_err(|error| format!("no runtime: {error}"))?;
        let redis = runtime.block_on(RedisServer::start());
        let nats = runtime.block_on(NatsServer::start());
        let config = ClusterConfig::new([redis.address()], [nats.address()]);
        let stand_in = runtime.block_on(self.stand_in(&config))?;
        let im = runtime.block_on(Im::connect(config)).map_err(|error| error.to_string())?;
        // Warms up connections, routes and caches.
        runtime.block_on(self.sends(&im, Duration::from_secs(1)))?;
        let round = Duration::from_secs_f64(self.seconds / (2 * ROUNDS) as f64);
        let (mut rates, mut floors) = (Vec::new(), Vec::new());
        let (mut cpus, mut batches) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let (cpu, envelopes) = (usage::of(&[std::process::id()]).cpu, stand_in.envelopes());
            let (sent, seconds) = runtime.block_on(self.sends(&im, round))?;
            let cpu = usage::of(&[std::process::id()]).cpu.saturating_sub(cpu);
            let batch = sent as f64 / (stand_in.envelopes() - envelopes).max(1) as f64;
            rates.push(sent as f64 / seconds);
            cpus.push(cpu.as_secs_f64() * 1e6 / sent.max(1) as f64);
            batches.push(batch);
            let mut floor =
                Floor::connect(&redis.address(), &nats.address(), self, stand_in.server(), batch)?;
            floors.push(floor.run(round)?);
        }
        let (sends_per_s, floor_per_s) = (median(rates), median(floors));
        Ok(SendReport {
            scenario: "send".to_owned(),
            path: if self.path == Path::Live { "live" } else { "logged" }.to_owned(),
            connections: self.connections,
            payload_bytes: self.payload,
            sends_per_s,
            floor_per_s,
            ratio: sends_per_s / floor_per_s,
            cpu_us_per_send: median(cpus),
            records_per_envelope: median(batches),
        })
    }

    /// Starts a stand-in with a lease, and registers a route to it for every user.
    async fn stand_in(&self, config: &ClusterConfig) -> Result<StandIn, String> {
        let cluster = Cluster::connect(config.clone()).await.map_err(|error| error.to_string())?;
        let server = ServerId::parse("stand-in").map_err(|error| error.to_string())?;
        let stand_in = StandIn::start(&cluster, &server).await?;
        for index in 0..self.connections {
            let claim = Claim {
                user: user_id(index)?,
                device: "other/bench".parse().map_err(|error| format!("{error}"))?,
                route: Route { server: server.clone(), connection: ConnectionId(u64::from(index) + 1) },
                policy: LoginPolicy::OnePerTerminal,
            };
            cluster.routes().claim(&claim).await.map_err(|error| error.to_string())?;
        }
        Ok(stand_in)
    }

    /// Returns the number of sent messages and the seconds they took.
    async fn sends(&self, im: &Im, time: Duration) -> Result<(u64, f64), String> {
        let durability = if self.path == Path::Live { Durability::Transient } else { Durability::Logged };
        let (stop, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let started = Instant::now();
        let lane = |lane: u32| {
            let (im, stop, sent, connections) = (im.clone(), stop.clone(), sent.clone(), self.connections);
            let text = "x".repeat(self.payload);
            tokio::spawn(async move {
                let from = UserId::parse(&format!("sender-{lane}")).map_err(|error| error.to_string())?;
                let mut index = lane % connections;
                while !stop.load(Ordering::Relaxed) {
                    let message = Message::to(user(&user_id(index)?)).from(&from).text(text.clone());
                    let receipt = im.send(message.durability(durability)).await;
                    let receipt = receipt.map_err(|error| error.to_string())?;
                    if receipt.pushed.len() != 1 {
                        return Err(format!("not pushed: {receipt:?}"));
                    }
                    sent.fetch_add(1, Ordering::Relaxed);
                    index = (index + LANES as u32) % connections;
                }
                Ok::<(), String>(())
            })
        };
        let lanes: Vec<_> = (0..LANES as u32).map(lane).collect();
        tokio::time::sleep(time).await;
        stop.store(true, Ordering::Relaxed);
        for lane in lanes {
            lane.await.map_err(|error| error.to_string())??;
        }
        Ok((sent.load(Ordering::Relaxed), started.elapsed().as_secs_f64()))
    }
}

fn user_id(index: u32) -> Result<UserId, String> {
    UserId::parse(&format!("u{index}")).map_err(|error| error.to_string())
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}
