//! Those of this process who wait for acknowledgements, and the news that other back ends have for them.

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
    backend::send::receipt::UserDevice,
    cluster::{BusError, BusEvent, Cluster, LogId, Subscription},
    id::{Device, UserId},
    proto::pb,
};

/// How many recipients all waiting receipts of a process may have together. With what is known of each, some 20 MiB; and
/// as many are asked for again in a second, at most.
pub(super) const MAX_WAITED_FOR: usize = 65_536;

/// How many devices of a user one receipt hears of. A user who comes with more counts by the first ones.
const MAX_DEVICES: usize = 256;

/// How long the subscription outlives the last who waited: the next one mostly comes soon.
const LINGER: Duration = Duration::from_secs(30);

/// See the module's description.
#[derive(Debug)]
pub(in crate::backend) struct AckWatch {
    cluster: Cluster,
    /// Who waits, by the users that they wait for.
    waits: Mutex<HashMap<Box<str>, Vec<Arc<Wait>>>>,
    places: Arc<Semaphore>,
    /// Whether there is a subscription. Held while subscribing, so that nobody reads the store before it is there.
    listening: tokio::sync::Mutex<bool>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

/// An entry that is to be acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Want {
    pub(super) log: LogId,
    pub(super) seq: u64,
}

/// One who waits.
#[derive(Debug)]
pub(super) struct Wait {
    wants: BTreeMap<UserId, Want>,
    heard: Mutex<HashMap<UserId, HashSet<Device>>>,
    changed: Notify,
}

/// A place among those who wait; dropping it leaves.
#[derive(Debug)]
pub(super) struct Waiting {
    watch: Arc<AckWatch>,
    wait: Arc<Wait>,
    _places: OwnedSemaphorePermit,
}

impl AckWatch {
    /// The tracker owns its task, which ends with `stop`.
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

    /// Waits for these users' devices from here on. `None`: as many as may wait already.
    pub(super) async fn wait(self: Arc<Self>, wants: BTreeMap<UserId, Want>) -> Option<Waiting> {
        let users = u32::try_from(wants.len()).ok()?;
        let places = Arc::clone(&self.places).try_acquire_many_owned(users).ok()?;
        let wait = Arc::new(Wait { wants, heard: Mutex::default(), changed: Notify::new() });
        self.enter(&wait);
        let waiting = Waiting { watch: self, wait, _places: places };
        if let Err(error) = waiting.watch.listen().await {
            // What is stored is read again and again.
            tracing::warn!(%error, "cannot hear of acknowledgements at once");
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

    /// Passes news on until nobody has waited for a while.
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
                    // Whoever waits from here on subscribes again.
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

    /// How many users somebody waits for.
    #[cfg(test)]
    pub(super) fn waited_for(&self) -> usize {
        self.lock().len()
    }

    fn told(&self, payload: Bytes) {
        let Ok(news) = pb::UpstreamAcks::decode(payload) else {
            return tracing::warn!(
                "another back end's news of acknowledgements are not valid and were dropped"
            );
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

    /// Waits until there may be something to take. Cancel-safe.
    pub(super) async fn changed(&self) {
        self.wait.changed.notified().await;
    }

    /// The devices that were heard of since the last call.
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
