//! Devices of the load: a real client, an application that stores what it saw, and a conversation of its own.

use std::{collections::HashMap, sync::Arc, time::Duration};

use im_sdk::{
    Endpoint, Recipient,
    client::{
        Client, ClientConfig, Event, Log, Trust,
        device_store::{DeviceStore, SavedCursor},
    },
    cluster::LogId,
    content::Content,
    id::{Device, UserId},
};
use tokio::{
    sync::watch,
    time::{MissedTickBehavior, interval, timeout},
};

use super::{Seen, Stamp, lines::DeviceLine, load_group, load_user};
use crate::stack::token;

/// Number of events that are taken at once.
const EVENTS: usize = 100;

/// Interval between two checks whether every publish has a result.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// Time limit for the results at the end.
const LAST_ANSWERS: Duration = Duration::from_secs(40);

/// A device of the load.
#[derive(Clone)]
pub struct DeviceSetup {
    /// Number of its user, who has no other device.
    pub index: usize,
    /// Number of users. It sends to the next one, and now and then to its group.
    pub users: usize,
    /// QUIC and WebSocket endpoints of every server. It knows all servers, and uses one transport at a time.
    pub servers: Vec<[Endpoint; 2]>,
    /// Number of moves to the next server and the other transport.
    pub turn: usize,
    /// Trust setting of its client.
    pub trust: Trust,
    /// Store that survives its client.
    pub store: Arc<dyn DeviceStore>,
    /// Number of its next message.
    pub next_number: u64,
    /// Interval between two messages.
    pub every: Duration,
}

/// Instructions for a device. The latest one counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wish {
    /// Send messages.
    pub send: bool,
    /// Take no events.
    pub pause_reading: bool,
    /// Reconnect: with each change of the number, the client is closed and another one opened on its store, at the
    /// next server and over the other transport.
    pub flaps: u64,
    /// Wait for the results of all publishes, and end.
    pub finish: bool,
}

impl DeviceSetup {
    /// Returns its user.
    pub fn user(&self) -> UserId {
        load_user(self.index)
    }

    /// Returns the stamp of the message with a number.
    pub fn stamp(&self, number: u64) -> Stamp {
        device_stamp(self.index, self.users, number)
    }

    fn recipient(&self, number: u64) -> Recipient {
        if is_for_group(number) {
            load_group(self.index).into()
        } else {
            load_user(peer(self.index, self.users)).into()
        }
    }

    /// Runs it until it is told to finish, and reports everything that happens.
    ///
    /// # Panics
    /// Panics if the client does not open.
    pub async fn run(mut self, mut wishes: watch::Receiver<Wish>, mut tell: impl FnMut(DeviceLine)) {
        let mut ticks = interval(self.every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let mut wish = wishes.borrow_and_update().clone();
        let mut client = self.open(&mut tell);
        let mut repeated = 0;
        loop {
            tokio::select! {
                biased;
                changed = wishes.changed() => {
                    let new = if changed.is_ok() { wishes.borrow_and_update().clone() } else { finish() };
                    if new.finish {
                        break;
                    }
                    if new.flaps != wish.flaps {
                        repeated += self.close(client, &mut tell).await;
                        self.turn += 1;
                        client = self.open(&mut tell);
                    }
                    if new.send && !wish.send {
                        ticks.reset();
                    }
                    wish = new;
                }
                _ = ticks.tick(), if wish.send => self.send(&client, &mut tell).await,
                events = client.next_events(EVENTS), if !wish.pause_reading => take(&client, events, &mut tell),
            }
        }
        let answered = async {
            while !client.unsettled_sends().await.is_empty() {
                let Ok(events) = timeout(POLL_INTERVAL, client.next_events(EVENTS)).await else { continue };
                take(&client, events, &mut tell);
            }
        };
        let answered = timeout(LAST_ANSWERS, answered).await.is_ok();
        repeated += self.close(client, &mut tell).await;
        if answered {
            tell(DeviceLine::Finished(repeated));
        }
    }

    /// Returns the endpoints in order: half of the devices start with each transport, a third with each server.
    fn endpoints(&self) -> Vec<Endpoint> {
        let (first, transport) = (self.index / 2 + self.turn, (self.index + self.turn) % 2);
        let count = self.servers.len();
        (0..count).map(|step| self.servers[(first + step) % count][transport].clone()).collect()
    }

    /// Opens a client on the store and connects it.
    fn open(&self, tell: &mut impl FnMut(DeviceLine)) -> Client {
        let device: Device = "web/tab".parse().expect("a device");
        let token = Arc::new(token(self.user().as_str()));
        let mut config = ClientConfig::new(self.endpoints(), device, token);
        config.trust = self.trust.clone();
        config.store = self.store.clone();
        let saved = self.store.load().expect("the store can be read");
        for SavedCursor { channel, seq, .. } in saved.cursors {
            let log = Log::parse(&channel).expect("a log's name");
            tell(DeviceLine::Seen(log, Seen::Reopened { seq }));
        }
        let client = Client::open(config).expect("the client opens");
        client.connect();
        client
    }

    /// Closes the client and reports the number of repeated entries. Entries that were not acknowledged are sent again
    /// to the next client.
    async fn close(&self, client: Client, tell: &mut impl FnMut(DeviceLine)) -> u64 {
        client.shutdown().await;
        loop {
            let events = client.next_events(EVENTS).await;
            if events.is_empty() {
                return client.repeated_messages();
            }
            let is_entry = |event: &Event| matches!(event, Event::Message(_) | Event::Reset { .. });
            events.into_iter().filter(|event| !is_entry(event)).for_each(|event| note(event, tell));
        }
    }

    async fn send(&mut self, client: &Client, tell: &mut impl FnMut(DeviceLine)) {
        let number = self.next_number;
        tell(DeviceLine::Sending(number));
        let text = self.stamp(number).to_string();
        // A message that was not taken keeps its number: the next tick tries again.
        if let Ok(sent) = client.send(self.recipient(number), Content::text(text)).await {
            self.next_number += 1;
            tell(DeviceLine::Taken(number, sent.local_id().as_u64()));
        }
    }
}

/// Returns the stamp of a message of a user's device.
pub fn device_stamp(index: usize, users: usize, number: u64) -> Stamp {
    let to =
        if is_for_group(number) { load_group(index).to_string() } else { format!("u{}", peer(index, users)) };
    Stamp::new(format!("d{index}"), format!("u{index}>{to}"), number)
}

/// Returns the logs of the message with a number.
pub fn device_logs(index: usize, users: usize, number: u64) -> Vec<LogId> {
    if is_for_group(number) {
        return vec![LogId::Channel(load_group(index))];
    }
    [index, peer(index, users)].map(load_user).map(LogId::Inbox).into()
}

/// Returns whether a device sends the message with a number to its group.
fn is_for_group(number: u64) -> bool {
    number.is_multiple_of(4)
}

fn peer(index: usize, users: usize) -> usize {
    (index + 1) % users
}

fn finish() -> Wish {
    Wish { finish: true, ..Wish::default() }
}

/// The application: stores what it saw, then acknowledges it.
fn take(client: &Client, events: Vec<Event>, tell: &mut impl FnMut(DeviceLine)) {
    let mut last = HashMap::new();
    for event in events {
        let position = match &event {
            Event::Message(message) => message.position.clone(),
            Event::Reset { position, .. } => Some(position.clone()),
            _ => None,
        };
        last.extend(position.map(|position| (position.log.clone(), position)));
        note(event, tell);
    }
    last.values().for_each(|position| client.ack(position));
}

fn note(event: Event, tell: &mut impl FnMut(DeviceLine)) {
    tell(match event {
        Event::Message(message) => {
            let Some(position) = message.position else { return };
            let stamp = Stamp::of(message.content.as_text());
            DeviceLine::Seen(position.log, Seen::Entry { seq: position.seq, id: message.id, stamp })
        }
        Event::Reset { position, reason } => {
            DeviceLine::Seen(position.log, Seen::Reset { seq: position.seq, reason })
        }
        Event::UpToDate => DeviceLine::UpToDate,
        Event::Published { local_id, message_id, .. } => DeviceLine::Published(local_id.as_u64(), message_id),
        Event::PublishFailed { local_id, error, .. } => {
            DeviceLine::Failed(local_id.as_u64(), error.to_string())
        }
        Event::Disconnected { code, reason, .. } => DeviceLine::Disconnected(format!("{code:?} {reason}")),
        Event::Stopped { code, reason, .. } => {
            DeviceLine::Disconnected(format!("stopped: {code:?} {reason}"))
        }
        _ => return,
    });
}
