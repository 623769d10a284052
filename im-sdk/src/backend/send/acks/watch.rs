//! The waiting receipts of this process, and the news of acknowledgements that other backends have
//! for them.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use prost::Message as _;
use tokio::{
    sync::{Notify, OwnedSemaphorePermit, Semaphore},
    time::{MissedTickBehavior, interval},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    backend::send::device::UserDevice,
    cluster::{BusError, BusEvent, Cluster, LogId, Subscription},
    id::{Device, UserId},
    proto::pb,
};

/// The most recipients of all waiting receipts of a process together. They take some 20 MiB, and at
/// most as many are read again in a second.
pub(super) const MAX_WAITED_FOR: usize = 65_536;

/// The most devices of a user that one receipt notes. Further ones are ignored.
const MAX_DEVICES: usize = 256;

/// The time for which the subscription outlives the last waiting receipt: the next one mostly comes
/// soon.
const LINGER: Duration = Duration::from_secs(30);

/// The waiting receipts of this process.
#[derive(Debug)]
pub(in crate::backend) struct AckWatch {
    cluster: Cluster,
    /// The waiting receipts by their recipients.
    waits: Mutex<HashMap<Box<str>, Vec<Arc<Wait>>>>,
    places: Arc<Semaphore>,
    /// `true` while there is a subscription. Held while subscribing, so that nobody reads the store before it
    /// exists.
    listening: tokio::sync::Mutex<bool>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

/// An entry to be acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Want {
    pub(super) log: LogId,
    pub(super) seq: u64,
}

/// A waiting receipt.
#[derive(Debug)]
pub(super) struct Wait {
    wants: BTreeMap<UserId, Want>,
    heard: Mutex<HashMap<UserId, HashSet<Device>>>,
    changed: Notify,
}

/// The registration of a waiting receipt, which ends with a drop.
#[derive(Debug)]
pub(super) struct Waiting {
    watch: Arc<AckWatch>,
    wait: Arc<Wait>,
    _places: OwnedSemaphorePermit,
}

impl AckWatch {
    /// Creates an empty watch. The tracker owns its task, which ends with `stop`.
    pub(in crate::backend) fn new(cluster: Cluster, tasks: TaskTracker, stop: CancellationToken) -> Self {
        Self {
            cluster,
            waits: Mutex::default(),
            places: Arc::new(Semaphore::new(MAX_WAITED_FOR)),
            listening: tokio::sync::Mutex::default(),
            tasks,
            stop,
        }
    }

    pub(super) fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    pub(super) fn stop(&self) -> &CancellationToken {
        &self.stop
    }

    /// Begins to note acknowledgements of these users' devices. Returns `None` if too many are
    /// waited for.
    pub(super) async fn wait(self: Arc<Self>, wants: BTreeMap<UserId, Want>) -> Option<Waiting> {
        let users = u32::try_from(wants.len()).ok()?;
        let places = Arc::clone(&self.places).try_acquire_many_owned(users).ok()?;
        let wait = Arc::new(Wait { wants, heard: Mutex::default(), changed: Notify::new() });
        self.enter(&wait);
        let waiting = Waiting { watch: self, wait, _places: places };
        if let Err(error) = waiting.watch.listen().await {
            // The store is read again and again.
            tracing::warn!(%error, "cannot subscribe to acknowledgements: reading the store instead");
        }
        Some(waiting)
    }

    fn enter(&self, wait: &Arc<Wait>) {
        let mut waits = self.lock();
        for user in wait.wants.keys() {
            waits.entry(user.as_str().into()).or_default().push(Arc::clone(wait));
        }
    }

    async fn listen(self: &Arc<Self>) -> Result<(), BusError> {
        let mut listening = self.listening.lock().await;
        if !*listening {
            let subject = self.cluster.names().acks_stored();
            let subscription = self.cluster.bus().subscribe(subject).await?;
            self.tasks.spawn(Arc::clone(self).hear(subscription));
            *listening = true;
        }
        Ok(())
    }

    /// Passes news on until nothing has waited for a while.
    async fn hear(self: Arc<Self>, mut subscription: Subscription) {
        let mut ticks = interval(LINGER);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks.tick().await;
        loop {
            tokio::select! {
                biased; // Nobody waits after the end.
                () = self.stop.cancelled() => return,
                event = subscription.next() => match event {
                    Some(BusEvent::Message(message)) => self.told(message.payload),
                    Some(_) => {}
                    None => break,
                },
                _ = ticks.tick() => {
                    let mut listening = self.listening.lock().await;
                    // The next waiting receipt subscribes again.
                    if self.lock().is_empty() {
                        *listening = false;
                        return;
                    }
                }
            }
        }
        *self.listening.lock().await = false;
    }

    #[cfg(test)]
    pub(super) async fn is_listening(&self) -> bool {
        *self.listening.lock().await
    }

    /// Returns the number of users that are waited for.
    #[cfg(test)]
    pub(super) fn waited_for(&self) -> usize {
        self.lock().len()
    }

    fn told(&self, payload: Bytes) {
        let Ok(news) = pb::UpstreamAcks::decode(payload) else {
            return tracing::warn!("another backend's news of acknowledgements is not valid and was dropped");
        };
        let waits = self.lock();
        for news in news.acks {
            if let Some(waits) = waits.get(&*news.user) {
                tell(waits, news);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Box<str>, Vec<Arc<Wait>>>> {
        self.waits.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn tell(waits: &[Arc<Wait>], news: pb::UpstreamAck) {
    let user = UserId::parse(&news.user).ok();
    let device = news.device.and_then(|device| Device::try_from(device).ok());
    let (Some(user), Some(device), Ok(ack)) = (user, device, pb::Ack::decode(news.ack)) else { return };
    for wait in waits {
        if ack.cursors.iter().any(|cursor| wait.is_met(&user, cursor)) {
            wait.note(UserDevice::new(&user, device.clone()));
        }
    }
}

impl Wait {
    fn is_met(&self, user: &UserId, cursor: &pb::Cursor) -> bool {
        let Some(want) = self.wants.get(user) else { return false };
        let same_log = match &want.log {
            LogId::Inbox(_) => cursor.channel.is_empty(),
            LogId::Channel(channel) => cursor.channel == channel.as_str(),
        };
        same_log && cursor.seq >= want.seq
    }

    fn note(&self, UserDevice { user, device }: UserDevice) {
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let devices = heard.entry(user).or_default();
        if devices.len() < MAX_DEVICES {
            devices.insert(device);
            self.changed.notify_one();
        }
    }
}

impl Waiting {
    pub(super) fn wants(&self) -> &BTreeMap<UserId, Want> {
        &self.wait.wants
    }

    /// Waits until there may be news to take. Cancel-safe.
    pub(super) async fn changed(&self) {
        self.wait.changed.notified().await;
    }

    /// Takes the devices that have acknowledged since the last call.
    pub(super) fn take(&self) -> Vec<UserDevice> {
        let heard = std::mem::take(&mut *self.wait.heard.lock().unwrap_or_else(PoisonError::into_inner));
        let device = |(user, devices): (UserId, HashSet<Device>)| {
            devices.into_iter().map(move |device| UserDevice { user: user.clone(), device })
        };
        heard.into_iter().flat_map(device).collect()
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut waits = self.watch.lock();
        for user in self.wait.wants.keys() {
            if let Some(others) = waits.get_mut(user.as_str()) {
                others.retain(|other| !Arc::ptr_eq(other, &self.wait));
                if others.is_empty() {
                    waits.remove(user.as_str());
                }
            }
        }
    }
}
