//! Back ends in processes of their own, which serve and send their share of the load.

use std::{
    collections::HashMap,
    str::FromStr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use tempfile::TempDir;
use tokio::time::sleep;

use super::{Checker, Share, Stamp, Told, lines::BackendLine, tail::Tail};
use crate::{binary, process::Process, stack::PATIENCE, wait_until};

/// Interval between two reads of its reports.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// Settings of the program, passed as arguments.
#[derive(Clone, Debug, PartialEq)]
pub struct BackendSetup {
    /// Address of Redis.
    pub redis: String,
    /// Address of NATS.
    pub nats: String,
    /// Publisher name in its stamps, new for every process.
    pub publisher: String,
    /// Its share of the load.
    pub share: Share,
    /// Percentage of its envelopes to servers that are dropped on purpose.
    pub drop_percent: u32,
    /// See [`im_sdk::cluster::ClusterConfig::min_replicas`].
    pub min_replicas: usize,
    /// See [`im_sdk::backend::ImBuilder::send_timeout`].
    pub send_timeout: Duration,
    /// See [`im_sdk::cluster::ClusterConfig::request_timeout`].
    pub request_timeout: Duration,
}

impl BackendSetup {
    /// Returns the arguments of the program.
    pub fn to_arguments(&self) -> Vec<String> {
        let share = &self.share;
        vec![
            self.redis.clone(),
            self.nats.clone(),
            self.publisher.clone(),
            share.index.to_string(),
            share.users.to_string(),
            share.unread.to_string(),
            share.lanes.to_string(),
            share.rate.to_string(),
            share.seconds.to_string(),
            self.drop_percent.to_string(),
            self.min_replicas.to_string(),
            self.send_timeout.as_millis().to_string(),
            self.request_timeout.as_millis().to_string(),
        ]
    }

    /// Parses the program's arguments.
    pub fn from_arguments(arguments: impl IntoIterator<Item = String>) -> Option<Self> {
        fn next<T: FromStr>(words: &mut impl Iterator<Item = String>) -> Option<T> {
            words.next()?.parse().ok()
        }
        let words = &mut arguments.into_iter();
        Some(Self {
            redis: words.next()?,
            nats: words.next()?,
            publisher: words.next()?,
            share: Share {
                index: next(words)?,
                users: next(words)?,
                unread: next(words)?,
                lanes: next(words)?,
                rate: next(words)?,
                seconds: next(words)?,
            },
            drop_percent: next(words)?,
            min_replicas: next(words)?,
            send_timeout: Duration::from_millis(next(words)?),
            request_timeout: Duration::from_millis(next(words)?),
        })
    }
}

/// A back end process, killed when dropped.
#[derive(Debug)]
pub struct Backend {
    /// Its settings.
    pub setup: BackendSetup,
    process: Process,
    reported: Arc<Reported>,
    _directory: TempDir,
}

#[derive(Debug, Default)]
struct Reported {
    lines: Mutex<Vec<BackendLine>>,
    sent: AtomicU64,
    failed: AtomicU64,
    ready: AtomicBool,
    done: AtomicBool,
}

impl Backend {
    /// Starts one and waits until it serves. [`Backend::go`] starts its load.
    pub async fn start(setup: BackendSetup, total: Arc<AtomicU64>) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let program = binary("chaos-backend");
        let process = Process::start(&program, &setup.to_arguments(), directory.path());
        let reported = Arc::new(Reported::default());
        let tail = Tail::follow(process.log());
        // Ends with the last owner beside itself.
        tokio::spawn(Arc::clone(&reported).keep_reading(tail, total));
        let backend = Self { setup, process, reported, _directory: directory };
        let ready = &backend.reported.ready;
        wait_until("the back end serves", PATIENCE, async || ready.load(Ordering::Relaxed)).await;
        backend
    }

    /// Starts the load.
    pub fn go(&mut self) {
        self.process.write_line("go");
    }

    /// Kills it (`SIGKILL`). Its earlier reports stay.
    pub async fn kill(&mut self) {
        self.process.kill();
        // Leaves time to read its last output.
        sleep(POLL_INTERVAL * 5).await;
    }

    /// Returns whether its load is over, or it has exited.
    pub fn is_done(&mut self) -> bool {
        self.reported.done.load(Ordering::Relaxed) || self.process.exit_status().is_some()
    }

    /// Returns the number of failed sends so far, counting each attempt.
    pub fn failed(&self) -> u64 {
        self.reported.failed.load(Ordering::Relaxed)
    }

    /// Returns the errors of failed sends, each with its number.
    pub fn failures(&self) -> HashMap<String, u64> {
        let mut failures = HashMap::new();
        for line in &*self.reported.lines.lock().expect("nobody panics with it") {
            if let BackendLine::Failed { error, .. } = line {
                *failures.entry(error.clone()).or_default() += 1;
            }
        }
        failures
    }

    /// Returns its output other than reports, such as why it exited.
    pub fn output(&self) -> String {
        let is_report = |line: &&str| line.parse::<BackendLine>().is_err();
        self.process.output().lines().filter(is_report).collect::<Vec<_>>().join("\n")
    }

    /// Returns all of its reports.
    pub fn feed(&self, checker: &mut Checker) {
        let lanes = self.setup.share.lanes();
        let stamp =
            |lane: usize, number| Stamp::new(&self.setup.publisher, &lanes[lane].conversation, number);
        for line in &*self.reported.lines.lock().expect("nobody panics with it") {
            match line {
                BackendLine::Sending { lane, number } => {
                    checker.sent(stamp(*lane, *number), lanes[*lane].logs());
                }
                BackendLine::Sent { lane, number, id, places } => {
                    let told = Told::Ok { id: Some(*id), places: places.clone() };
                    checker.told(&stamp(*lane, *number), told);
                }
                BackendLine::Failed { lane, number, last: true, .. } => {
                    checker.told(&stamp(*lane, *number), Told::Failed);
                }
                _ => {}
            }
        }
    }
}

impl Reported {
    async fn keep_reading(self: Arc<Self>, mut tail: Tail, total: Arc<AtomicU64>) {
        loop {
            self.take(tail.read(), &total);
            if Arc::strong_count(&self) == 1 {
                return;
            }
            sleep(POLL_INTERVAL).await;
        }
    }

    fn take(&self, lines: Vec<BackendLine>, total: &AtomicU64) {
        for line in &lines {
            match line {
                BackendLine::Ready => self.ready.store(true, Ordering::Relaxed),
                BackendLine::Done => self.done.store(true, Ordering::Relaxed),
                BackendLine::Sent { .. } => {
                    self.sent.fetch_add(1, Ordering::Relaxed);
                    total.fetch_add(1, Ordering::Relaxed);
                }
                BackendLine::Failed { .. } => _ = self.failed.fetch_add(1, Ordering::Relaxed),
                BackendLine::Sending { .. } => {}
            }
        }
        self.lines.lock().expect("nobody panics with it").extend(lines);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setup_travels_as_arguments() {
        let share = Share { index: 1, users: 40, unread: 2, lanes: 60, rate: 12.5, seconds: 0.5 };
        let setup = BackendSetup {
            redis: "redis://a".into(),
            nats: "nats://b".into(),
            publisher: "b1.2".into(),
            share,
            drop_percent: 5,
            min_replicas: 1,
            send_timeout: Duration::from_millis(1500),
            request_timeout: Duration::from_millis(700),
        };
        assert_eq!(BackendSetup::from_arguments(setup.to_arguments()), Some(setup));
        assert_eq!(BackendSetup::from_arguments(["redis://a".to_owned()]), None);
    }
}
