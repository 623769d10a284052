//! The bus on NATS core.
//!
//! It needs no rights beyond its own subjects: no inbox, no request. A message without a subscriber
//! is reported by the server's no-responders status on the publisher's own subject.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_nats::{
    Client, ConnectOptions, Event, PublishError, PublishErrorKind, ServerAddr, Statistics, SubscribeError,
    SubscribeErrorKind, Subscriber, connection::State,
};
use async_trait::async_trait;
use bytes::Bytes;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::{JoinHandle, coop::unconstrained},
    time::{MissedTickBehavior, interval, timeout},
};

use super::{
    events::{self, Events, Inbox},
    outage::Outage,
};
use crate::cluster::{
    config::{ClusterConfig, ConnectError, without_credentials},
    diagnostics::{addresses, versions::NATS},
    disruptions::{Disruptable, Disruptions},
    names::{Names, QueueGroup, Subject},
    traits::{Bus, BusError, Disruption, Publication, Subscription},
};

const SERVICE: &str = "NATS";

/// The reason why there is no connection.
type Reason = Box<dyn std::error::Error + Send + Sync>;

/// The interval of pings. A silent connection counts as lost after three of them; the client's
/// default of a minute would leave a server deaf for three.
const PING_INTERVAL: Duration = Duration::from_secs(3);

/// The largest message: a batch of 256 KiB, and one more message with the largest frame that a
/// server can be set to (512 KiB). It is also the default limit of NATS.
const NEEDED_PAYLOAD: usize = 1024 * 1024;

/// The maximum number of bytes waiting to be written. The client library bounds its queue in
/// messages only, and keeps them while the connection is lost.
const WAITING_BYTES: usize = 64 * 1024 * 1024;

/// The interval at which the queues of slow readers are bounded. At 1 GB/s, 50 MB arrive in
/// between.
const RELIEVE_INTERVAL: Duration = Duration::from_millis(50);

/// A bus on NATS. After the first connection it reconnects for as long as it lives.
pub struct NatsBus {
    client: Client,
    names: Names,
    listeners: Arc<Listeners>,
    publish_timeout: Duration,
    /// The remaining room for payloads, in bytes.
    room: Arc<Semaphore>,
    /// The task that bounds subscriptions; ends with the bus.
    relief: JoinHandle<()>,
}

impl Drop for NatsBus {
    fn drop(&mut self) {
        self.relief.abort();
    }
}

/// A payload, with the room that it takes until it is written.
struct Waiting {
    payload: Bytes,
    _room: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Waiting {
    fn as_ref(&self) -> &[u8] {
        &self.payload
    }
}

impl NatsBus {
    /// Connects to the first server of the configuration that answers.
    ///
    /// # Errors
    /// [`ConnectError`], after `connect_timeout` at the latest.
    pub async fn connect(config: &ClusterConfig) -> Result<Self, ConnectError> {
        let names = config.names()?;
        config.check()?;
        addresses::check_nats(&config.nats)?;
        let servers = parse(&config.nats)?;
        let listeners = Arc::new(Listeners { outage: Outage::at(places(config)), ..Listeners::default() });
        let connecting = options(config, &servers, listeners.clone()).connect(bare(&servers)?);
        let client = match timeout(config.connect_timeout, connecting).await {
            Ok(Ok(client)) => client,
            Ok(Err(error)) => return Err(unreachable(config, error.into()).await),
            Err(_) => return Err(unreachable(config, no_answer(config)).await),
        };
        NATS.check(&places(config), &client.server_info().version)?;
        let (max_payload, needed) = (client.server_info().max_payload, NEEDED_PAYLOAD);
        if max_payload < needed {
            return Err(ConnectError::SmallMessages { address: places(config), max_payload, needed });
        }
        listeners.follow(client.statistics());
        let relief = tokio::spawn(relieve(Arc::clone(&listeners), client.statistics()));
        let (publish_timeout, room) = (config.request_timeout, Arc::new(Semaphore::new(WAITING_BYTES)));
        Ok(Self { client, names, listeners, publish_timeout, room, relief })
    }

    /// Returns the connection, for other uses of the same servers.
    pub(in crate::cluster) fn client(&self) -> &Client {
        &self.client
    }

    fn subscription(&self, subscriber: Subscriber) -> Subscription {
        let disruptions = Arc::new(Disruptions::default());
        let inbox = Arc::new(Inbox::new(subscriber, Arc::clone(&disruptions)));
        self.listeners.add(&inbox);
        let events = Events::new(inbox, self.client.statistics());
        Subscription::new(Disruptable::new(events, disruptions))
    }

    /// Waits until there is room for a payload. Returns `None` if the connection is closed for
    /// good.
    async fn with_room(&self, payload: Bytes) -> Option<Bytes> {
        let bytes = u32::try_from(payload.len().clamp(1, WAITING_BYTES)).ok()?;
        let room = match Arc::clone(&self.room).try_acquire_many_owned(bytes) {
            Ok(room) => room,
            Err(_) => Arc::clone(&self.room).acquire_many_owned(bytes).await.ok()?,
        };
        Some(Bytes::from_owner(Waiting { payload, _room: room }))
    }
}

#[async_trait]
impl Bus for NatsBus {
    async fn subscribe(&self, subject: Subject) -> Result<Subscription, BusError> {
        let subscriber = self.client.subscribe(native(&subject)).await.map_err(not_subscribed)?;
        Ok(self.subscription(subscriber))
    }

    async fn queue_subscribe(&self, subject: Subject, group: QueueGroup) -> Result<Subscription, BusError> {
        let subscribed = self.client.queue_subscribe(native(&subject), group.as_str().into()).await;
        let subscriber = subscribed.map_err(not_subscribed)?;
        Ok(self.subscription(subscriber))
    }

    async fn publish(&self, publication: Publication) -> Result<(), BusError> {
        let Publication { subject, return_to, payload } = publication;
        let bytes = payload.len();
        let publishing = async {
            let payload = self.with_room(payload).await.ok_or(BusError::Closed)?;
            let published = match return_to {
                Some(back) => self.client.publish_with_reply(native(&subject), native(&back), payload).await,
                None => self.client.publish(native(&subject), payload).await,
            };
            published.map_err(|error| self.refused(error, bytes))
        };
        // Without a connection the queue fills, and waiting for room in it would never end.
        match timeout(self.publish_timeout, publishing).await {
            Ok(published) => published,
            Err(_) => {
                let bus = format!("{SERVICE} at {}", self.listeners.outage.place());
                Err(BusError::Congested { bus, waited: self.publish_timeout })
            }
        }
    }

    /// Waits for the next connection while it is lost.
    async fn flush(&self) -> Result<(), BusError> {
        // A flush fails only when the task that owns the connection is gone.
        self.client.flush().await.map_err(|_| BusError::Closed)
    }

    async fn reconnect(&self) -> bool {
        // An attempt to connect that is in progress is not given up. It fails only when the task
        // that owns the connection is gone.
        self.client.connection_state() == State::Connected && self.client.force_reconnect().await.is_ok()
    }

    fn names(&self) -> &Names {
        &self.names
    }
}

impl NatsBus {
    fn refused(&self, error: PublishError, bytes: usize) -> BusError {
        match error.kind() {
            PublishErrorKind::MaxPayloadExceeded => {
                BusError::TooLarge { bytes, limit: self.client.max_payload() }
            }
            PublishErrorKind::Send => BusError::Closed,
            PublishErrorKind::InvalidSubject => failed("publishing", error),
        }
    }
}

impl std::fmt::Debug for NatsBus {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("NatsBus").field("names", &self.names).finish_non_exhaustive()
    }
}

/// The subscriptions of one connection, to be told when messages may have been lost.
#[derive(Debug, Default)]
struct Listeners {
    subscriptions: Mutex<Vec<Weak<Inbox>>>,
    statistics: OnceLock<Arc<Statistics>>,
    known_connects: AtomicU64,
    outage: Outage,
}

impl Listeners {
    /// Starts to count connections: from here on another one is a reconnection.
    fn follow(&self, statistics: Arc<Statistics>) {
        self.known_connects.store(statistics.connects.load(Ordering::Relaxed), Ordering::Relaxed);
        // Only `connect` sets it, once.
        let _ = self.statistics.set(statistics);
    }

    fn add(&self, inbox: &Arc<Inbox>) {
        let mut subscriptions = self.lock();
        subscriptions.retain(|subscription| subscription.strong_count() > 0);
        subscriptions.push(Arc::downgrade(inbox));
    }

    fn handle(&self, event: Event) {
        match event {
            // The event names the subscription by a number that the client library keeps to itself.
            Event::SlowConsumer(_) => self.report(Disruption::Overflow),
            Event::ServerError(error) => {
                tracing::warn!(nats = self.outage.place(), %error, "NATS reported an error");
            }
            Event::ClientError(error) => self.outage.failed(&error),
            Event::Disconnected => self.outage.begin(),
            _ => {}
        }
        if self.is_reconnected() {
            self.outage.end();
            self.report(Disruption::Reconnected);
        }
    }

    /// Returns whether the connection was replaced. Counts connections rather than
    /// [`Event::Connected`]: the client library drops events when many come at once, and this one
    /// must not be missed.
    fn is_reconnected(&self) -> bool {
        let Some(statistics) = self.statistics.get() else {
            return false;
        };
        let connects = statistics.connects.load(Ordering::Relaxed);
        self.known_connects.swap(connects, Ordering::Relaxed) != connects
    }

    fn report(&self, disruption: Disruption) {
        self.all().iter().for_each(|inbox| inbox.report(disruption));
    }

    fn all(&self) -> Vec<Arc<Inbox>> {
        self.lock().iter().filter_map(Weak::upgrade).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Weak<Inbox>>> {
        self.subscriptions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Bounds the bytes queued in subscriptions.
async fn relieve(listeners: Arc<Listeners>, statistics: Arc<Statistics>) {
    let mut ticks = interval(RELIEVE_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut known = 0;
    loop {
        ticks.tick().await;
        let messages = statistics.in_messages.load(Ordering::Relaxed);
        if std::mem::replace(&mut known, messages) == messages {
            continue;
        }
        for inbox in listeners.all() {
            // Unconstrained: an exhausted task budget must not look like an empty queue.
            unconstrained(async { inbox.relieve() }).await;
            tokio::task::yield_now().await;
        }
    }
}

fn native(subject: &Subject) -> async_nats::Subject {
    subject.as_str().into()
}

fn parse(addresses: &[String]) -> Result<Vec<ServerAddr>, ConnectError> {
    if addresses.is_empty() {
        return Err(ConnectError::NoAddress { service: SERVICE });
    }
    let parse = |address: &String| {
        address.parse().map_err(|error: std::io::Error| ConnectError::Unreachable {
            service: SERVICE,
            address: without_credentials(address).into(),
            source: error.into(),
        })
    };
    addresses.iter().map(parse).collect()
}

/// Returns the addresses without user names and passwords: the client library logs addresses, and
/// takes credentials only from its options.
fn bare(servers: &[ServerAddr]) -> Result<Vec<ServerAddr>, ConnectError> {
    let bare = |server: &ServerAddr| {
        let (open, close) = if server.host().contains(':') { ("[", "]") } else { ("", "") };
        format!("{}://{open}{}{close}:{}", server.scheme(), server.host(), server.port())
    };
    parse(&servers.iter().map(bare).collect::<Vec<_>>())
}

fn options(config: &ClusterConfig, servers: &[ServerAddr], listeners: Arc<Listeners>) -> ConnectOptions {
    // Each server gets a share of the time, so that the first one cannot use it up.
    let connection_timeout = config.connect_timeout / u32::try_from(servers.len()).unwrap_or(u32::MAX).max(1);
    let options = ConnectOptions::new()
        .name(&config.prefix)
        .connection_timeout(connection_timeout)
        .ping_interval(PING_INTERVAL)
        .subscription_capacity(events::CAPACITY)
        .event_callback(move |event| {
            listeners.handle(event);
            std::future::ready(())
        });
    match servers.iter().find_map(|server| Some((server.username()?, server.password()))) {
        Some((user, Some(password))) => options.user_and_password(decode(user), decode(password)),
        Some((token, None)) => options.token(decode(token)),
        None => options,
    }
}

/// Resolves escapes such as `%40`, which a user name or a password needs in an address. Anything
/// else is unchanged.
fn decode(text: &str) -> String {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let escaped = after.get(..2).filter(|_| *first == b'%').and_then(hexadecimal);
        decoded.push(escaped.unwrap_or(*first));
        rest = if escaped.is_some() { &after[2..] } else { after };
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

fn hexadecimal(digits: &[u8]) -> Option<u8> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16);
    let value = digits.iter().try_fold(0, |value, byte| Some(value * 16 + digit(byte)?))?;
    u8::try_from(value).ok()
}

/// Returns why no server could be connected to. If the first address leads to another service, that
/// is the better reason.
async fn unreachable(config: &ClusterConfig, source: Reason) -> ConnectError {
    let source = match config.nats.first() {
        Some(first) => addresses::reason(SERVICE, first, source).await,
        None => source,
    };
    ConnectError::Unreachable { service: SERVICE, address: places(config), source }
}

fn no_answer(config: &ClusterConfig) -> Reason {
    format!("there was no answer within {:?}", config.connect_timeout).into()
}

/// Returns all configured addresses, without passwords.
pub(in crate::cluster) fn places(config: &ClusterConfig) -> String {
    let places: Vec<&str> = config.nats.iter().map(|address| without_credentials(address)).collect();
    places.join(", ")
}

fn not_subscribed(error: SubscribeError) -> BusError {
    match error.kind() {
        // The task that owns the connection is gone.
        SubscribeErrorKind::Other => BusError::Closed,
        _ => failed("subscribing", error),
    }
}

fn failed(action: &'static str, source: impl std::error::Error + Send + Sync + 'static) -> BusError {
    BusError::Failed { action, source: source.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_in_passwords_are_resolved() {
        for (text, decoded) in [
            ("plain", "plain"),
            ("a%40b%3A", "a@b:"),
            ("%c3%A4", "ä"),
            ("100%", "100%"),
            ("%4", "%4"),
            ("%zz", "%zz"),
        ] {
            assert_eq!(decode(text), decoded);
        }
    }

    #[test]
    fn the_client_library_gets_addresses_without_credentials() {
        let given = ["nats://user:hunter2@[::1]:1", "token@example.com", "tls://a:b@127.0.0.1:3"];
        let servers = parse(&given.map(str::to_owned)).unwrap();
        let bare = bare(&servers).unwrap();
        let expected = ["nats://[::1]:1", "nats://example.com:4222", "tls://127.0.0.1:3"];
        assert_eq!(bare, parse(&expected.map(str::to_owned)).unwrap());
        assert!(!format!("{bare:?}").contains("hunter2"));
    }

    #[test]
    fn later_connections_are_reported_once_and_the_first_never() {
        let listeners = Listeners::default();
        let statistics = Arc::new(Statistics::default());
        let connects = |number| statistics.connects.store(number, Ordering::Relaxed);
        connects(1);
        assert!(!listeners.is_reconnected());
        listeners.follow(statistics.clone());
        assert!(!listeners.is_reconnected());
        connects(2);
        assert!(listeners.is_reconnected() && !listeners.is_reconnected());
    }
}
