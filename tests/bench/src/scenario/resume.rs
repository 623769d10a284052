//! `resume`: devices that were away come back all at once, and each receives the messages it missed.
//!
//! Each device's log has one message that the device knows, named by its cursor, and some after it that it does not
//! know. It must receive exactly the latter, in order; the known one would count as duplicated.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use im_proto::pb;
use im_sdk::backend::{Durability, Im, Incoming};
use tokio::{sync::Semaphore, task::JoinSet};

use super::{Devices, delivery::wait_for};
use crate::{
    fleet::{Fleet, Plan},
    report::Report,
    stamp::{Stamp, now},
    target::{ImTarget, Target as _, TargetKind, TargetOptions, logged_message},
    usage,
};

/// See the module's description.
#[derive(Clone, Debug)]
pub(crate) struct Resume {
    /// Options of the target.
    pub(crate) options: TargetOptions,
    /// Devices.
    pub(crate) devices: Devices,
    /// Number of messages that each has missed.
    pub(crate) missed: u32,
}

impl Resume {
    /// Runs the scenario. Calls `watch` with the share of the devices that are back.
    ///
    /// # Errors
    /// Returns the step that failed.
    pub(crate) fn run(&self, watch: impl FnMut(f64)) -> Result<Report, String> {
        let Self { options, devices, missed } = self;
        let target = ImTarget::start(options)?;
        let im = target.backend()?;
        let plans = target.runtime().block_on(async {
            let known = Logs { im: &im, payload: options.payload, connections: devices.connections };
            let cursors = known.fill(*missed).await?;
            let plan = |(index, cursor)| {
                let (server, login) = target.resuming(index, vec![cursor]);
                Plan { index, audience: index, first_sequence: 1, server, login }
            };
            Ok::<_, String>((0..).zip(cursors).map(plan).collect::<Vec<_>>())
        })?;
        let serving =
            target.runtime().block_on(im.serve(|incoming: Incoming| async move { Ok(incoming.accept()) }));
        let service = serving.map_err(|error| format!("the back end does not serve: {error}"))?;
        let processes = target.processes();
        let (before, own, started) = (usage::of(&processes), usage::own_cpu(), Instant::now());
        let fleet = Fleet::connect(plans, &devices.fleet(&target, options), watch)?;
        let expected = u64::from(devices.connections) * u64::from(*missed);
        let progressed = wait_for(&fleet, expected);
        let done = started.elapsed() - SETTLED;
        let (after, own_after) = (usage::of(&processes), usage::own_cpu());
        let client: Duration = fleet.counts().iter().map(|count| count.cpu).sum();
        let each = |cpu: Duration| Some(cpu.as_secs_f64() * 1e6 / expected.max(1) as f64);
        let connected_in = fleet.connected_in;
        let findings = fleet.finish()?;
        target.runtime().block_on(service.shutdown());
        Ok(Report {
            scenario: "resume".to_owned(),
            version: target.version(),
            path: Some("logged".to_owned()),
            payload_bytes: Some(options.payload.max(crate::stamp::LEN)),
            seconds: done.as_secs_f64(),
            sent: Some(expected),
            delivered: Some(progressed.delivered),
            delivered_per_s: Some(progressed.delivered as f64 / done.as_secs_f64()),
            resumes_per_s: Some(f64::from(devices.connections) / done.as_secs_f64()),
            connects_per_s: Some(f64::from(devices.connections) / connected_in.as_secs_f64()),
            lost: Some(expected.saturating_sub(progressed.delivered)),
            duplicated: Some(findings.faults.duplicated + findings.faults.misdelivered),
            reordered: Some(findings.faults.reordered),
            failed: Some(progressed.closed),
            server_cpu_us_per_delivery: each(after.cpu.saturating_sub(before.cpu)),
            client_cpu_us_per_delivery: each(client),
            sender_cpu_us_per_delivery: each((own_after - own).saturating_sub(client)),
            ..devices.report(TargetKind::Im, options)
        })
    }
}

/// The logs to fill while the devices are away.
struct Logs<'a> {
    im: &'a Im,
    payload: usize,
    connections: u32,
}

impl Logs<'_> {
    /// Appends one known message for each device, then the missed ones. Returns the devices' cursors by index.
    async fn fill(&self, missed: u32) -> Result<Vec<pb::Cursor>, String> {
        let (room, mut tasks) = (Arc::new(Semaphore::new(AT_ONCE)), JoinSet::new());
        for audience in 0..self.connections {
            // The semaphore is never closed.
            let place = Arc::clone(&room).acquire_owned().await.map_err(|error| error.to_string())?;
            let (im, payload) = (self.im.clone(), self.payload);
            tasks.spawn(async move {
                let _place = place;
                let mut cursor = pb::Cursor::default();
                for sequence in 0..=missed {
                    let stamp = Stamp { time: now(), audience, sequence };
                    let sent = im.send(logged_message(stamp, payload, Durability::Logged)).await;
                    let receipt = sent.map_err(|error| format!("cannot fill a log: {error}"))?;
                    if sequence == 0 {
                        let seq = receipt.logged.first().map_or(0, |(_, seq)| *seq);
                        cursor = pb::Cursor { channel: String::new(), seq, id: receipt.message_id.as_u64() };
                    }
                }
                Ok::<_, String>((audience, cursor))
            });
        }
        let mut cursors = vec![pb::Cursor::default(); self.connections as usize];
        while let Some(filled) = tasks.join_next().await {
            let (index, cursor) = filled.map_err(|error| format!("filling a log ended: {error}"))??;
            cursors[index as usize] = cursor;
        }
        Ok(cursors)
    }
}

/// Number of logs that are filled at once.
const AT_ONCE: usize = 512;

/// Time that [`wait_for`] waits after the last delivery.
const SETTLED: Duration = Duration::from_millis(100);
