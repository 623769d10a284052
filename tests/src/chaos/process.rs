//! Devices in processes of their own, which can be killed. Their stores are files, and their applications have
//! processed what they reported.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use im_sdk::Endpoint;
use tempfile::TempDir;
use tokio::{task::JoinHandle, time::sleep};

use super::{DeviceState, lines::Tagged, tail::Tail};
use crate::{binary, process::Process, wait_until};

/// Number of devices in a process.
pub const DEVICES_PER_PROCESS: usize = 4;

/// Interval between two reads of their reports.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// Time limit for a process to exit.
const END_TIMEOUT: Duration = Duration::from_secs(60);

/// Common settings of the devices of a process, passed as arguments.
#[derive(Clone, Debug)]
pub struct ProcessSetup {
    /// Number of users.
    pub users: usize,
    /// QUIC and WebSocket endpoints of every server.
    pub servers: Vec<[Endpoint; 2]>,
    /// File with the certificate of the servers.
    pub certificate: PathBuf,
    /// Interval between two messages of a device.
    pub every: Duration,
}

/// A device of a process, as an argument: its number and the number of its next message.
pub type DeviceArgument = (usize, u64);

impl ProcessSetup {
    fn to_arguments(&self, stores: &TempDir, devices: &[Arc<DeviceState>]) -> Vec<String> {
        let servers: Vec<String> = self.servers.iter().flatten().map(ToString::to_string).collect();
        let mut arguments = vec![
            self.users.to_string(),
            servers.join(","),
            self.certificate.display().to_string(),
            self.every.as_micros().to_string(),
            stores.path().display().to_string(),
        ];
        arguments.extend(devices.iter().map(|device| format!("{}={}", device.index(), device.next_number())));
        arguments
    }

    /// Parses the program's arguments: the settings, the folder of the stores, and the devices.
    pub fn from_arguments(
        arguments: impl IntoIterator<Item = String>,
    ) -> Option<(Self, PathBuf, Vec<DeviceArgument>)> {
        let mut words = arguments.into_iter();
        let users = words.next()?.parse().ok()?;
        let endpoints: Vec<Endpoint> =
            words.next()?.split(',').map(|endpoint| endpoint.parse().ok()).collect::<Option<_>>()?;
        let servers = endpoints.chunks_exact(2).map(|pair| [pair[0].clone(), pair[1].clone()]).collect();
        let certificate = words.next()?.into();
        let every = Duration::from_micros(words.next()?.parse().ok()?);
        let stores = words.next()?.into();
        let device = |word: String| {
            let (index, next_number) = word.split_once('=')?;
            Some((index.parse().ok()?, next_number.parse().ok()?))
        };
        let devices = words.map(device).collect::<Option<_>>()?;
        Some((Self { users, servers, certificate, every }, stores, devices))
    }
}

/// A process with devices, killed when dropped.
#[derive(Debug)]
pub struct DeviceProcess {
    setup: ProcessSetup,
    devices: Vec<Arc<DeviceState>>,
    stores: TempDir,
    running: Running,
    sending: bool,
}

#[derive(Debug)]
struct Running {
    process: Process,
    ended: Arc<AtomicBool>,
    reading: JoinHandle<()>,
    _directory: TempDir,
}

impl DeviceProcess {
    pub(super) async fn start(setup: ProcessSetup, devices: Vec<Arc<DeviceState>>) -> Self {
        let stores = tempfile::tempdir().expect("a directory");
        let running = Running::start(&setup, &stores, &devices);
        Self { setup, devices, stores, running, sending: false }
    }

    pub(super) fn send(&mut self, send: bool) {
        self.sending = send;
        self.running.process.write_line(if send { "send" } else { "hush" });
    }

    /// Kills it (`SIGKILL`) and starts it again on its stores.
    pub async fn kill_and_restart(&mut self) {
        self.running.process.kill();
        self.running.read_all().await;
        self.running = Running::start(&self.setup, &self.stores, &self.devices);
        self.send(self.sending);
    }

    pub(super) async fn finish(&mut self) {
        self.running.process.write_line("finish");
        let process = &mut self.running.process;
        wait_until("the devices' process ends", END_TIMEOUT, async || process.exit_status().is_some()).await;
        self.running.read_all().await;
    }
}

impl Running {
    fn start(setup: &ProcessSetup, stores: &TempDir, devices: &[Arc<DeviceState>]) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let arguments = setup.to_arguments(stores, devices);
        let process = Process::start(&binary("chaos-devices"), &arguments, directory.path());
        let ended = Arc::new(AtomicBool::new(false));
        let reading = keep_reading(Tail::follow(process.log()), devices.to_vec(), Arc::clone(&ended));
        Self { process, ended, reading: tokio::spawn(reading), _directory: directory }
    }

    /// Waits until all reports from before its exit are read.
    async fn read_all(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        (&mut self.reading).await.expect("reports are read");
    }
}

async fn keep_reading(mut tail: Tail, devices: Vec<Arc<DeviceState>>, ended: Arc<AtomicBool>) {
    loop {
        let is_last = ended.load(Ordering::Relaxed);
        for Tagged { device, line } in tail.read() {
            if let Some(state) = devices.iter().find(|state| state.index() == device) {
                state.tell(line);
            }
        }
        if is_last {
            return;
        }
        sleep(POLL_INTERVAL).await;
    }
}
