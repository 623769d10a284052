//! The bus inside one process. It drops messages where NATS would, so that code running on it has
//! to cope with that.

use std::{
    collections::HashMap,
    pin::{Pin, pin},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use async_trait::async_trait;
use futures_util::{Stream, future::BoxFuture};
use tokio::task::coop::consume_budget;

use crate::cluster::{
    backlog::Backlog,
    disruptions::{Disruptable, Disruptions},
    names::{Names, QueueGroup, Subject},
    traits::{
        Bus, BusError, BusEvent, BusMessage, Disruption, Publication, SUBSCRIPTION_CAPACITY, Source,
        Subscription,
    },
};

/// The largest message: the default limit of NATS.
const MAX_PAYLOAD_BYTES: usize = 1024 * 1024;

/// A bus inside this process. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct MemoryBus {
    names: Names,
    topics: Arc<Mutex<Topics>>,
}

impl MemoryBus {
    /// Creates a bus without subscribers.
    pub fn new() -> Self {
        Self::default()
    }

    fn add(&self, subject: Subject, group: Option<QueueGroup>) -> Subscription {
        let (queue, disruptions) = (Arc::new(Queue::new()), Arc::new(Disruptions::default()));
        let subscriber = |id| Subscriber { id, queue: queue.clone(), disruptions: disruptions.clone() };
        let id = lock(&self.topics).add(&subject, group, subscriber);
        let membership = Membership { topics: self.topics.clone(), subject, id };
        Subscription::new(Disruptable::new(Events { queue, membership }, disruptions))
    }
}

#[async_trait]
impl Bus for MemoryBus {
    async fn subscribe(&self, subject: Subject) -> Result<Subscription, BusError> {
        Ok(self.add(subject, None))
    }

    async fn queue_subscribe(&self, subject: Subject, group: QueueGroup) -> Result<Subscription, BusError> {
        Ok(self.add(subject, Some(group)))
    }

    async fn publish(&self, publication: Publication) -> Result<(), BusError> {
        let bytes = publication.payload.len();
        if bytes > MAX_PAYLOAD_BYTES {
            return Err(BusError::TooLarge { bytes, limit: MAX_PAYLOAD_BYTES });
        }
        lock(&self.topics).publish(publication);
        Ok(())
    }

    async fn flush(&self) -> Result<(), BusError> {
        Ok(())
    }

    fn names(&self) -> &Names {
        &self.names
    }
}

/// The events of one subscription; leaves its topic when dropped.
#[derive(Debug)]
struct Events {
    queue: Arc<Queue>,
    membership: Membership,
}

impl Stream for Events {
    type Item = BusEvent;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<BusEvent>> {
        // A reader of a full queue lets other tasks run now and then.
        if pin!(consume_budget()).poll(context).is_pending() {
            return Poll::Pending;
        }
        self.queue.poll(context)
    }
}

impl Source for Events {
    fn drain(self: Pin<&mut Self>) -> BoxFuture<'_, ()> {
        // Only the subscriber fills the queue. Without it, the queue ends after its last event.
        self.membership.leave();
        Box::pin(std::future::ready(()))
    }
}

/// Removes a subscriber from its topic when dropped.
#[derive(Debug)]
struct Membership {
    topics: Arc<Mutex<Topics>>,
    subject: Subject,
    id: u64,
}

impl Membership {
    fn leave(&self) {
        lock(&self.topics).remove(&self.subject, self.id);
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        self.leave();
    }
}

/// All subscriptions.
#[derive(Debug, Default)]
struct Topics {
    /// Topics by their whole subject.
    exact: HashMap<Box<str>, Topic>,
    /// Topics by the part of their subject before the `*`.
    wildcard: HashMap<Box<str>, Topic>,
    last_id: u64,
}

impl Topics {
    fn add(
        &mut self,
        subject: &Subject,
        group: Option<QueueGroup>,
        subscriber: impl FnOnce(u64) -> Subscriber,
    ) -> u64 {
        self.last_id += 1;
        let id = self.last_id;
        let (topics, key) = self.slot(subject);
        topics.entry(key.into()).or_default().add(group, subscriber(id));
        id
    }

    fn remove(&mut self, subject: &Subject, id: u64) {
        let (topics, key) = self.slot(subject);
        if let Some(topic) = topics.get_mut(key) {
            topic.remove(id);
            if topic.is_empty() {
                topics.remove(key);
            }
        }
    }

    fn slot<'a>(&mut self, subject: &'a Subject) -> (&mut HashMap<Box<str>, Topic>, &'a str) {
        match subject.as_str().strip_suffix('*') {
            Some(start) => (&mut self.wildcard, start),
            None => (&mut self.exact, subject.as_str()),
        }
    }

    fn publish(&mut self, publication: Publication) {
        let event = BusEvent::Message(BusMessage { payload: publication.payload });
        let taken = self.deliver(&publication.subject, &event);
        if let (false, Some(subject)) = (taken, publication.return_to) {
            self.deliver(&subject, &BusEvent::Undelivered(subject.clone()));
        }
    }

    /// Delivers an event. Returns `false` if there is no subscriber.
    fn deliver(&mut self, subject: &Subject, event: &BusEvent) -> bool {
        let subject = subject.as_str();
        let start = &subject[..subject.rfind('.').map_or(0, |dot| dot + 1)];
        let topics = [self.exact.get_mut(subject), self.wildcard.get_mut(start)];
        let taken = topics.into_iter().flatten().map(|topic| topic.deliver(event)).count();
        taken > 0
    }
}

/// The subscribers of one subject; never empty.
#[derive(Debug, Default)]
struct Topic {
    everyone: Vec<Subscriber>,
    groups: HashMap<QueueGroup, Group>,
}

impl Topic {
    fn add(&mut self, group: Option<QueueGroup>, subscriber: Subscriber) {
        match group {
            Some(name) => self.groups.entry(name).or_default().members.push(subscriber),
            None => self.everyone.push(subscriber),
        }
    }

    fn remove(&mut self, id: u64) {
        self.everyone.retain(|subscriber| subscriber.id != id);
        self.groups.retain(|_, group| {
            group.members.retain(|member| member.id != id);
            !group.members.is_empty()
        });
    }

    fn is_empty(&self) -> bool {
        self.everyone.is_empty() && self.groups.is_empty()
    }

    fn deliver(&mut self, event: &BusEvent) {
        let chosen = self.groups.values_mut().filter_map(Group::next);
        for subscriber in self.everyone.iter().chain(chosen) {
            subscriber.offer(event.clone());
        }
    }
}

/// A queue group, whose members take turns.
#[derive(Debug, Default)]
struct Group {
    members: Vec<Subscriber>,
    turn: usize,
}

impl Group {
    fn next(&mut self) -> Option<&Subscriber> {
        self.turn = self.turn.wrapping_add(1);
        self.members.get(self.turn % self.members.len().max(1))
    }
}

/// The queued events of a subscription.
#[derive(Debug)]
struct Queue {
    state: Mutex<QueueState>,
}

#[derive(Debug)]
struct QueueState {
    backlog: Backlog<BusEvent>,
    /// Whether no more events will come.
    has_ended: bool,
    reader: Option<Waker>,
}

impl Queue {
    fn new() -> Self {
        let backlog = Backlog::new(SUBSCRIPTION_CAPACITY);
        Self { state: Mutex::new(QueueState { backlog, has_ended: false, reader: None }) }
    }

    /// Queues an event. Returns `false` if others had to be dropped.
    fn push(&self, event: BusEvent) -> bool {
        let payload = match &event {
            BusEvent::Message(message) => message.payload.len(),
            BusEvent::Undelivered(_) | BusEvent::Disrupted(_) => 0,
        };
        let mut state = self.state();
        let fits = state.backlog.push(event, payload);
        let reader = state.reader.take();
        drop(state);
        reader.into_iter().for_each(Waker::wake);
        fits
    }

    fn end(&self) {
        let mut state = self.state();
        state.has_ended = true;
        let reader = state.reader.take();
        drop(state);
        reader.into_iter().for_each(Waker::wake);
    }

    fn poll(&self, context: &Context<'_>) -> Poll<Option<BusEvent>> {
        let mut state = self.state();
        match state.backlog.pop() {
            Some(event) => Poll::Ready(Some(event)),
            None if state.has_ended => Poll::Ready(None),
            None => {
                state.reader = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, QueueState> {
        // Every change of the state is complete before anything can panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The bus's end of a subscription.
#[derive(Debug)]
struct Subscriber {
    id: u64,
    queue: Arc<Queue>,
    disruptions: Arc<Disruptions>,
}

impl Subscriber {
    fn offer(&self, event: BusEvent) {
        if !self.queue.push(event) {
            self.disruptions.report(Disruption::Overflow);
        }
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        self.queue.end();
    }
}

fn lock(topics: &Mutex<Topics>) -> MutexGuard<'_, Topics> {
    // Every change of the topics is complete before anything can panic.
    topics.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::conformance::check_bus;

    #[tokio::test]
    async fn conforms() {
        let bus = MemoryBus::new();
        check_bus(&bus, &bus.clone()).await;
    }

    #[tokio::test]
    async fn nothing_is_left_of_dropped_subscriptions() {
        let bus = MemoryBus::new();
        let subject = Subject::received("im.srv.a");
        let group = bus.names().backends();
        drop(bus.subscribe(subject.clone()).await.unwrap());
        drop(bus.queue_subscribe(subject, group).await.unwrap());
        drop(bus.subscribe(bus.names().all_undelivered("a")).await.unwrap());
        let topics = lock(&bus.topics);
        assert!(topics.exact.is_empty() && topics.wildcard.is_empty());
    }
}
