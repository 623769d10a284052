//! The load of back ends, in lanes. Each lane is a conversation that sends a message once the previous one has a
//! result, at a pace that catches up after a fault.

use std::time::Duration;

use im_sdk::{
    backend::{Im, Message, channel, users},
    cluster::LogId,
    id::{ChannelId, UserId},
};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, sleep_until},
};

use super::{Stamp, lines::BackendLine};

/// Interval between two attempts of a failed send.
const RETRY_PAUSE: Duration = Duration::from_millis(100);

/// Time after the end of the load for which sends are repeated.
const LAST_RETRIES: Duration = Duration::from_secs(20);

/// Size of a message to a user who [does not read](Share::unread): nearly the maximum of a frame.
const LARGE: usize = 60_000;

/// Number of such messages per second and lane.
const LARGE_RATE: f64 = 30.0;

/// Returns the user with a number.
///
/// # Panics
/// Never, since the name is valid.
pub fn load_user(number: usize) -> UserId {
    UserId::parse(&format!("u{number}")).expect("a valid name")
}

/// Number of consecutive users in a group.
const GROUP: usize = 10;

/// Returns the group of the user with a number.
///
/// # Panics
/// Never, since the name is valid.
pub fn load_group(number: usize) -> ChannelId {
    ChannelId::parse(&format!("g{}", number / GROUP)).expect("a valid name")
}

/// One conversation of a back end.
#[derive(Clone, Debug)]
pub struct Lane {
    /// Name in stamps.
    pub conversation: String,
    /// Sender; `None` for the back end itself.
    pub from: Option<UserId>,
    /// Recipients.
    pub to: Vec<UserId>,
    /// Group that receives instead of users.
    pub group: Option<ChannelId>,
    /// Set if a failed send is repeated under its idempotency key until it succeeds. Otherwise it is given up.
    pub keyed: bool,
    /// Number of padding bytes of each message.
    pub padding: usize,
}

impl Lane {
    /// Returns the logs of its messages.
    pub fn logs(&self) -> Vec<LogId> {
        if let Some(group) = &self.group {
            return vec![LogId::Channel(group.clone())];
        }
        self.from.iter().chain(&self.to).cloned().map(LogId::Inbox).collect()
    }

    fn message(&self, stamp: &Stamp) -> Message {
        let mut text = stamp.to_string();
        if self.padding > 0 {
            text.push(' ');
            text.extend(std::iter::repeat_n('x', self.padding));
        }
        let to = self.group.as_ref().map_or_else(|| users(&self.to), channel);
        let mut message = Message::to(to).text(text);
        if let Some(from) = &self.from {
            message = message.from(from);
        }
        if self.keyed { message.idempotency_key(stamp.to_string().replace(' ', ":")) } else { message }
    }
}

/// Share of one back end in the load. Both sides of the process boundary derive the same lanes from it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Share {
    /// Index of the back end.
    pub index: usize,
    /// Number of users.
    pub users: usize,
    /// Number of users, the last ones, who do not read and get messages that fill queues.
    pub unread: usize,
    /// Number of conversations.
    pub lanes: usize,
    /// Messages per second of all lanes together.
    pub rate: f64,
    /// Duration.
    pub seconds: f64,
}

impl Share {
    /// Returns its conversations: from user to user, some to three at once, some to groups, some without a sender,
    /// every other one with idempotency keys.
    pub fn lanes(&self) -> Vec<Lane> {
        let readers = self.users - self.unread;
        let lane = |number: usize| {
            let from = (self.index * 31 + number) % readers;
            let other = |step: usize| load_user((from + step) % readers);
            let step = 1 + number % (readers - 3);
            // Some of them with keys, and some without.
            let group = matches!(number % 16, 6 | 15).then(|| load_group(from));
            let to = if number % 8 == 3 { (step..step + 3).map(other).collect() } else { vec![other(step)] };
            let from = (number % 8 != 5).then(|| load_user(from));
            let to = to.into_iter().filter(|to| Some(to) != from.as_ref()).collect();
            let to = if group.is_some() { Vec::new() } else { to };
            let conversation = format!("l{number}");
            Lane { conversation, from, to, group, keyed: number.is_multiple_of(2), padding: 0 }
        };
        let unread = |number: usize| Lane {
            conversation: format!("large{number}"),
            from: None,
            to: vec![load_user(number)],
            group: None,
            keyed: true,
            padding: LARGE,
        };
        (0..self.lanes).map(lane).chain((readers..self.users).map(unread)).collect()
    }

    fn every(&self, lane: &Lane) -> Duration {
        let rate = if lane.padding > 0 { LARGE_RATE } else { self.rate / self.lanes as f64 };
        Duration::from_secs_f64(1.0 / rate)
    }

    /// Sends the load and reports the result of each message. Stamps contain the publisher's name.
    pub async fn run(&self, im: &Im, publisher: &str, tell: fn(BackendLine)) {
        let start = Instant::now();
        let end = start + Duration::from_secs_f64(self.seconds);
        let mut running = JoinSet::new();
        for (number, lane) in self.lanes().into_iter().enumerate() {
            let every = self.every(&lane);
            let first = start + every.mul_f64(rand::random());
            let lane = Running { im: im.clone(), publisher: publisher.to_owned(), number, lane, tell };
            running.spawn(lane.run(first, every, end));
        }
        running.join_all().await;
        tell(BackendLine::Done);
    }
}

struct Running {
    im: Im,
    publisher: String,
    number: usize,
    lane: Lane,
    tell: fn(BackendLine),
}

impl Running {
    /// Sends a message whenever one is due. Overdue messages follow each other at once.
    async fn run(self, first: Instant, every: Duration, end: Instant) {
        for (count, number) in (0_u32..).zip(1_u64..) {
            let due = first + every * count;
            if due >= end {
                return;
            }
            sleep_until(due).await;
            let stamp = Stamp::new(&self.publisher, &self.lane.conversation, number);
            (self.tell)(BackendLine::Sending { lane: self.number, number });
            self.send(&stamp, end + LAST_RETRIES).await;
        }
    }

    async fn send(&self, stamp: &Stamp, until: Instant) {
        let (lane, number) = (self.number, stamp.number);
        loop {
            let error = match self.im.send(self.lane.message(stamp)).await {
                Ok(receipt) => {
                    let inboxes = receipt.logged.into_iter().map(|(user, seq)| (LogId::Inbox(user), seq));
                    let channel = receipt.channel.map(|to| (LogId::Channel(to.channel), to.seq));
                    let (id, places) = (receipt.message_id, inboxes.chain(channel).collect());
                    return (self.tell)(BackendLine::Sent { lane, number, id, places });
                }
                Err(error) => error.to_string(),
            };
            let last = !self.lane.keyed || Instant::now() > until;
            (self.tell)(BackendLine::Failed { lane, number, last, error });
            sleep(RETRY_PAUSE).await;
            if last {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lanes_are_distinct_and_make_sense() {
        let share = Share { index: 1, users: 40, unread: 2, lanes: 60, rate: 100.0, seconds: 1.0 };
        let lanes = share.lanes();
        assert_eq!(lanes.len(), 62);
        for lane in &lanes {
            assert!(
                lane.to.is_empty() == lane.group.is_some()
                    && !lane.from.as_ref().is_some_and(|from| lane.to.contains(from))
            );
            let unread = lane.to.iter().any(|to| *to == load_user(38) || *to == load_user(39));
            assert_eq!(unread, lane.padding > 0, "{lane:?}");
        }
        assert!(lanes.iter().any(|lane| lane.to.len() == 3));
        for keyed in [true, false] {
            assert!(lanes.iter().any(|lane| lane.group.is_some() && lane.keyed == keyed));
        }
        assert!(lanes.iter().any(|lane| lane.from.is_none() && lane.padding == 0));
    }
}
