//! Conformance of [`Bus`].

use std::{
    collections::HashSet,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use bytes::Bytes;

use super::{PATIENCE, eventually};
use crate::{
    cluster::{
        Bus, BusError, BusEvent, Disruption, Publication, SUBSCRIPTION_BYTES, SUBSCRIPTION_CAPACITY, Subject,
        Subscription,
    },
    id::ServerId,
};

/// A size that no bus accepts.
const HUGE_BYTES: usize = 65 * 1024 * 1024;

/// Checks an implementation with two handles of the same bus, as two processes would have them, or
/// two clones.
///
/// # Panics
/// When a rule is broken.
pub async fn check_bus(near: &dyn Bus, far: &dyn Bus) {
    keeps_the_order(near, far).await;
    everyone_gets_a_copy(near, far).await;
    a_group_shares(near, far).await;
    says_when_nobody_listens(near, far).await;
    a_star_takes_one_token(near, far).await;
    dropping_unsubscribes(near, far).await;
    draining_loses_nothing(near, far).await;
    a_quiet_subscription_is_drained(near, far).await;
    says_when_it_overflows(near, far).await;
    is_bounded_in_bytes(near, far).await;
    refuses_what_is_too_large(near).await;
}

async fn keeps_the_order(near: &dyn Bus, far: &dyn Bus) {
    let subject = fresh(near);
    let mut subscription = near.subscribe(subject.clone()).await.expect("subscribe");
    settle(near, far).await;
    for number in 0..20_000 {
        publish(far, &subject, number).await;
    }
    far.flush().await.expect("flush");
    for number in 0..10_000 {
        assert_eq!(message(&mut subscription).await, number, "by waiting for each");
    }
    settle(near, far).await;
    for number in 10_000..20_000 {
        let event = subscription.try_next().expect("it is there already");
        assert_eq!(numbered(event), number, "by taking what is there");
    }
    assert!(subscription.try_next().is_none());
}

async fn everyone_gets_a_copy(near: &dyn Bus, far: &dyn Bus) {
    let subject = fresh(near);
    let mut subscriptions = Vec::new();
    for bus in [near, near, far] {
        subscriptions.push(bus.subscribe(subject.clone()).await.expect("subscribe"));
    }
    settle(near, far).await;
    for number in 0..100 {
        publish(far, &subject, number).await;
    }
    for subscription in &mut subscriptions {
        for number in 0..100 {
            assert_eq!(message(subscription).await, number);
        }
    }
}

async fn a_group_shares(near: &dyn Bus, far: &dyn Bus) {
    const MESSAGES: u64 = 3_000;
    let subject = fresh(near);
    let mut members = Vec::new();
    for _ in 0..3 {
        let member = near.queue_subscribe(subject.clone(), near.names().backends()).await;
        members.push(member.expect("subscribe"));
    }
    let mut outsider = near.subscribe(subject.clone()).await.expect("subscribe");
    settle(near, far).await;
    for number in 0..MESSAGES {
        publish(far, &subject, number).await;
    }
    for number in 0..MESSAGES {
        assert_eq!(message(&mut outsider).await, number, "who is not in the group gets everything");
    }
    settle(near, far).await;
    let shares: Vec<Vec<u64>> = members.iter_mut().map(taken).collect();
    assert!(
        shares.iter().all(|share| !share.is_empty() && share.is_sorted()),
        "each member gets a share, in order"
    );
    let all: HashSet<u64> = shares.iter().flatten().copied().collect();
    assert_eq!(all.len() as u64, MESSAGES, "nothing is lost");
    assert_eq!(
        shares.iter().map(Vec::len).sum::<usize>() as u64,
        MESSAGES,
        "nothing is given to two members"
    );
}

async fn says_when_nobody_listens(near: &dyn Bus, far: &dyn Bus) {
    let (publisher, taken, nobody) = (token(), fresh(near), fresh(near));
    let mut reports = near.subscribe(near.names().all_undelivered(&publisher)).await.expect("subscribe");
    let _taker = far.subscribe(taken.clone()).await.expect("subscribe");
    settle(far, near).await;
    for (subject, ticket) in [(&nobody, 1), (&taken, 2), (&nobody, 3)] {
        let return_to = Some(report(near, &publisher, ticket));
        let publication = Publication { subject: subject.clone(), return_to, payload: Bytes::new() };
        near.publish(publication).await.expect("publish");
    }
    for ticket in [1, 3] {
        let event = next(&mut reports).await;
        let BusEvent::Undelivered(subject) = event else {
            panic!("expected a report about {ticket}, got {event:?}");
        };
        assert_eq!(subject, report(near, &publisher, ticket));
    }
    settle(near, far).await;
    assert!(reports.try_next().is_none(), "what is taken is not reported");
}

async fn a_star_takes_one_token(near: &dyn Bus, far: &dyn Bus) {
    let (one, other) = (token(), token());
    let mut subscription = near.subscribe(near.names().all_undelivered(&one)).await.expect("subscribe");
    settle(near, far).await;
    publish(far, &report(near, &other, 1), 1).await;
    publish(far, &report(near, &one, 2), 2).await;
    publish(far, &Subject::received(&format!("{}.more", report(near, &one, 3))), 3).await;
    publish(far, &report(near, &one, 4), 4).await;
    assert_eq!(message(&mut subscription).await, 2);
    assert_eq!(message(&mut subscription).await, 4);
}

async fn dropping_unsubscribes(near: &dyn Bus, far: &dyn Bus) {
    let (subject, publisher) = (fresh(near), token());
    let return_to = report(near, &publisher, 1);
    let mut reports = near.subscribe(return_to.clone()).await.expect("subscribe");
    drop(near.subscribe(subject.clone()).await.expect("subscribe"));
    drop(far.queue_subscribe(subject.clone(), near.names().backends()).await.expect("subscribe"));
    eventually("nobody is subscribed any more", async || {
        let (subject, return_to) = (subject.clone(), Some(return_to.clone()));
        near.publish(Publication { subject, return_to, payload: Bytes::new() }).await.expect("publish");
        reports.try_next()
    })
    .await;
}

async fn draining_loses_nothing(near: &dyn Bus, far: &dyn Bus) {
    const ROUNDS: u64 = 5;
    const EACH: u64 = 2_000;
    const PACE: Duration = Duration::from_millis(1);
    let subject = fresh(near);
    let group = near.names().backends();
    let mut staying = far.queue_subscribe(subject.clone(), group.clone()).await.expect("subscribe");
    let mut received = Vec::new();
    for round in 0..ROUNDS {
        let mut leaving = near.queue_subscribe(subject.clone(), group.clone()).await.expect("subscribe");
        settle(near, far).await;
        let publishing = async {
            for number in 0..EACH {
                publish(far, &subject, round * EACH + number).await;
                if number % 32 == 0 {
                    // The load of a busy deployment, not the maximum that a loop can produce.
                    far.flush().await.expect("flush");
                    tokio::time::sleep(PACE).await;
                }
            }
        };
        let draining = async {
            let mut share = vec![message(&mut leaving).await];
            leaving.drain().await;
            // With nothing left to read, the subscription must end.
            let end = tokio::time::timeout(PATIENCE, async {
                while let Some(event) = leaving.next().await {
                    // Meanwhile, others of this handle continue.
                    publish(near, &fresh(near), 0).await;
                    share.push(numbered(event));
                }
            });
            end.await.expect("the end of a drained subscription");
            share
        };
        let ((), mut share) = tokio::join!(publishing, draining);
        assert!(share.is_sorted(), "in order");
        received.append(&mut share);
    }
    settle(far, near).await;
    settle(near, far).await;
    received.append(&mut taken(&mut staying));
    received.sort_unstable();
    assert!(received.into_iter().eq(0..ROUNDS * EACH), "each once: with who stays or with who left");
}

async fn a_quiet_subscription_is_drained(near: &dyn Bus, far: &dyn Bus) {
    let subject = fresh(near);
    let mut leaving = near.subscribe(subject.clone()).await.expect("subscribe");
    settle(near, far).await;
    for number in 0..10 {
        publish(far, &subject, number).await;
    }
    settle(near, far).await;
    leaving.drain().await;
    for number in 0..10 {
        assert_eq!(message(&mut leaving).await, number, "what was there already");
    }
    assert!(leaving.next().await.is_none(), "and then the end");
    assert!(leaving.next().await.is_none() && leaving.try_next().is_none(), "it stays at its end");
}

async fn says_when_it_overflows(near: &dyn Bus, far: &dyn Bus) {
    let subject = fresh(near);
    let mut full = near.subscribe(subject.clone()).await.expect("subscribe");
    settle(near, far).await;
    let published = SUBSCRIPTION_CAPACITY as u64 + 1_000;
    for number in 0..published {
        publish(far, &subject, number).await;
    }
    // Behind all of them, so they are either queued or lost when it returns.
    settle(near, far).await;
    let mut events = vec![next(&mut full).await];
    while !matches!(events.last(), Some(BusEvent::Disrupted(Disruption::Overflow))) {
        events.push(next(&mut full).await);
    }
    settle(near, far).await;
    let received = events.len() - 1 + taken(&mut full).len();
    assert!(received <= SUBSCRIPTION_CAPACITY, "{received} messages were queued");
    publish(far, &subject, 7).await;
    assert_eq!(message(&mut full).await, 7, "afterwards the subscription goes on");
}

/// A subscription is bounded, however large messages are. The newest messages are kept.
async fn is_bounded_in_bytes(near: &dyn Bus, far: &dyn Bus) {
    const MESSAGE: usize = 256 * 1024;
    // A server of the bus may end a connection with too much in transit: NATS does at 64 MiB.
    const PACE: usize = 32;
    let subject = fresh(near);
    let mut full = near.subscribe(subject.clone()).await.expect("subscribe");
    settle(near, far).await;
    let published = 2 * SUBSCRIPTION_BYTES / MESSAGE;
    for number in 0..published {
        let mut payload = vec![0; MESSAGE];
        payload[..8].copy_from_slice(&(number as u64).to_be_bytes());
        let publication = Publication { subject: subject.clone(), return_to: None, payload: payload.into() };
        far.publish(publication).await.expect("publish");
        if number % PACE == 0 {
            settle(near, far).await;
        }
    }
    settle(near, far).await;
    eventually("it is said that messages were dropped", async || {
        matches!(full.try_next(), Some(BusEvent::Disrupted(Disruption::Overflow))).then_some(())
    })
    .await;
    let (mut bytes, mut last) = (0, 0);
    while let Some(BusEvent::Message(message)) = full.try_next() {
        bytes += message.payload.len();
        last = u64::from_be_bytes(message.payload[..8].try_into().expect("8 bytes"));
    }
    // A bus may bound its queue now and then only.
    assert!(bytes <= SUBSCRIPTION_BYTES * 3 / 2, "{bytes} bytes were queued");
    assert_eq!(last + 1, published as u64, "the newest is there");
    publish(far, &subject, 7).await;
    assert_eq!(message(&mut full).await, 7, "afterwards the subscription goes on");
}

async fn refuses_what_is_too_large(bus: &dyn Bus) {
    let payload = Bytes::from(vec![0; HUGE_BYTES]);
    let refused = bus.publish(Publication { subject: fresh(bus), return_to: None, payload }).await;
    let Err(BusError::TooLarge { bytes, limit }) = refused else {
        panic!("{HUGE_BYTES} bytes were taken: {refused:?}");
    };
    assert!(bytes == HUGE_BYTES && limit < bytes, "{bytes} bytes, limit {limit}");
}

/// Waits until all subscriptions of `near` are in force for `far`, and everything that `far`
/// published to them has arrived: the operations of one handle are seen in order.
async fn settle(near: &dyn Bus, far: &dyn Bus) {
    let subject = fresh(near);
    let mut subscription = near.subscribe(subject.clone()).await.expect("subscribe");
    eventually("a new subscription gets a message", async || {
        publish(far, &subject, 0).await;
        subscription.try_next()
    })
    .await;
}

async fn publish(bus: &dyn Bus, subject: &Subject, number: u64) {
    let payload = Bytes::copy_from_slice(&number.to_be_bytes());
    let publication = Publication { subject: subject.clone(), return_to: None, payload };
    bus.publish(publication).await.expect("publish");
}

async fn next(subscription: &mut Subscription) -> BusEvent {
    let event = tokio::time::timeout(PATIENCE, subscription.next()).await;
    event.expect("an event in time").expect("the bus is open")
}

async fn message(subscription: &mut Subscription) -> u64 {
    numbered(next(subscription).await)
}

fn numbered(event: BusEvent) -> u64 {
    let BusEvent::Message(message) = event else {
        panic!("expected a message, got {event:?}");
    };
    u64::from_be_bytes(message.payload[..].try_into().expect("8 bytes"))
}

/// Returns the numbers of the queued messages.
fn taken(subscription: &mut Subscription) -> Vec<u64> {
    let events = std::iter::from_fn(|| subscription.try_next());
    events.filter(|event| !matches!(event, BusEvent::Disrupted(_))).map(numbered).collect()
}

/// Returns a subject that no other check uses.
fn fresh(bus: &dyn Bus) -> Subject {
    bus.names().server(&server(&token()))
}

/// Returns the subject on which a publisher is told that something was not delivered.
fn report(bus: &dyn Bus, publisher: &str, number: u64) -> Subject {
    bus.names().undelivered(publisher, &server("nobody"), number)
}

fn server(id: &str) -> ServerId {
    ServerId::parse(id).expect("a server id")
}

fn token() -> String {
    static LAST: AtomicU64 = AtomicU64::new(0);
    let number = LAST.fetch_add(1, Ordering::Relaxed);
    format!("{:x}-{number}", rand::random::<u64>())
}
