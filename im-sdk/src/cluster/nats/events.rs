//! The events of one NATS subscription, and how it ends without a loss.

use std::{
    future::poll_fn,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::Ordering},
    task::{Context, Poll, Waker},
    time::Duration,
};

use async_nats::{Message, Statistics, StatusCode, Subscriber};
use futures_util::{FutureExt, Stream, StreamExt, future::BoxFuture};
use tokio::time::{sleep, timeout};

use crate::cluster::{
    backlog::Backlog,
    disruptions::Disruptions,
    names::Subject,
    traits::{BusEvent, BusMessage, Disruption, SUBSCRIPTION_CAPACITY, Source},
};

/// The numbers of further messages after which a draining subscription ends: more than are in
/// transit at once. If fewer arrive within [`STEP`], fewer are in transit, and the next number is
/// used.
const LAST_MESSAGES: [u64; 4] = [256, 64, 16, 4];

/// The time for each of [`LAST_MESSAGES`]. After the last step, fewer than 16 messages arrive in a
/// second.
const STEP: Duration = Duration::from_millis(250);

/// The pause between two attempts to pass a command to the client library while its task is busy.
const COMMAND_RETRY: Duration = Duration::from_millis(10);

/// The capacity of the client library's queue, and that of the backlog.
pub(super) const CAPACITY: usize = SUBSCRIPTION_CAPACITY / 2;

pub(super) struct Events {
    inbox: Arc<Inbox>,
    statistics: Arc<Statistics>,
    /// The number of connections of the client when the subscription was made.
    connects: u64,
}

/// The received messages of one subscription.
///
/// Its reader nearly always takes them from the client library's own queue, which is bounded in
/// messages only. If the reader falls behind, [`Inbox::relieve`] moves them into a queue that is
/// bounded in bytes too.
pub(super) struct Inbox {
    state: Mutex<State>,
    disruptions: Arc<Disruptions>,
}

struct State {
    subscriber: Subscriber,
    /// Messages ahead of those in the client library's queue.
    backlog: Backlog<Message>,
    /// The number of messages that have been read.
    count: u64,
    /// Whether the client library's queue was found empty since the last [`Inbox::relieve`].
    was_empty: bool,
    /// Whether the subscription is draining. The drain then moves the messages.
    is_draining: bool,
}

impl Inbox {
    pub(super) fn new(subscriber: Subscriber, disruptions: Arc<Disruptions>) -> Self {
        let (backlog, count) = (Backlog::new(CAPACITY), 0);
        let state = State { subscriber, backlog, count, was_empty: true, is_draining: false };
        Self { state: Mutex::new(state), disruptions }
    }

    /// Moves queued messages into the backlog. Called every few milliseconds while messages arrive.
    pub(super) fn relieve(&self) {
        let mut state = self.state();
        if std::mem::take(&mut state.was_empty) || state.is_draining {
            return;
        }
        // The client library's queue has one waker, which this poll replaces; the new one wakes the
        // reader.
        let waker = Waker::from(Arc::clone(&self.disruptions));
        let mut context = Context::from_waker(&waker);
        let mut fits = true;
        while let Poll::Ready(Some(message)) = state.poll_library(&mut context) {
            let bytes = message.length;
            fits &= state.backlog.push(message, bytes);
        }
        drop(state);
        if !fits {
            self.report(Disruption::Overflow);
        }
        waker.wake();
    }

    pub(super) fn report(&self, disruption: Disruption) {
        self.disruptions.report(disruption);
    }

    fn poll(&self, context: &mut Context<'_>) -> Poll<Option<Message>> {
        let mut state = self.state();
        match state.backlog.pop() {
            Some(message) => Poll::Ready(Some(message)),
            None => state.poll_library(context),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change of the state is complete before anything can panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn poll_library(&mut self, context: &mut Context<'_>) -> Poll<Option<Message>> {
        let polled = self.subscriber.poll_next_unpin(context);
        match &polled {
            Poll::Ready(Some(_)) => self.count += 1,
            Poll::Ready(None) | Poll::Pending => self.was_empty = true,
        }
        polled
    }
}

impl Events {
    pub(super) fn new(inbox: Arc<Inbox>, statistics: Arc<Statistics>) -> Self {
        let connects = statistics.connects.load(Ordering::Relaxed);
        Self { inbox, statistics, connects }
    }

    /// Moves one message into the backlog. Returns `false` at the end.
    async fn read(&self) -> bool {
        poll_fn(|context| {
            let mut state = self.inbox.state();
            state.poll_library(context).map(|message| {
                let read = message.is_some();
                let fits = message.is_none_or(|message| {
                    let bytes = message.length;
                    state.backlog.push(message, bytes)
                });
                if !fits {
                    self.inbox.disruptions.report(Disruption::Overflow);
                }
                read
            })
        })
        .await
    }

    /// Ends the subscription. The client library forgets a subscription as soon as it unsubscribes,
    /// and drops messages in transit. So server and client first agree on the end: after a number
    /// of further messages, which both count.
    async fn end(&self) {
        self.inbox.state().is_draining = true;
        while self.read().now_or_never() == Some(true) {}
        for further in LAST_MESSAGES {
            // A new server counts from the beginning: it would continue when the client has ended.
            if self.statistics.connects.load(Ordering::Relaxed) != self.connects {
                break;
            }
            let last = self.inbox.state().count + further;
            // Fails only when the task that owns the connection is gone, and with it the
            // subscription.
            self.command(|subscriber| subscriber.unsubscribe_after(last).now_or_never().map(drop)).await;
            if timeout(STEP, async { while self.read().await {} }).await.is_ok() {
                return;
            }
        }
        self.command(|subscriber| subscriber.drain().now_or_never().map(drop)).await;
    }

    /// Passes a command to the client library as soon as its task has room for it.
    async fn command(&self, command: impl Fn(&mut Subscriber) -> Option<()>) {
        while command(&mut self.inbox.state().subscriber).is_none() {
            sleep(COMMAND_RETRY).await;
        }
    }
}

impl Stream for Events {
    type Item = BusEvent;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<BusEvent>> {
        self.inbox.poll(context).map(|message| message.map(event))
    }
}

impl Source for Events {
    fn drain(self: Pin<&mut Self>) -> BoxFuture<'_, ()> {
        Box::pin(async move { self.into_ref().get_ref().end().await })
    }
}

fn event(message: Message) -> BusEvent {
    match message.status {
        Some(StatusCode::NO_RESPONDERS) => BusEvent::Undelivered(Subject::received(&message.subject)),
        _ => BusEvent::Message(BusMessage { payload: message.payload }),
    }
}
