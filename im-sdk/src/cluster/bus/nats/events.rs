//! What one subscription receives from NATS, and how it ends without a loss.

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
    bus::{
        BusEvent, BusMessage, Disruption, SUBSCRIPTION_CAPACITY, Source, backlog::Backlog,
        disruptions::Disruptions,
    },
    names::Subject,
};

/// With how many further messages a subscription ends that is drained: more than are on the wire at once. If so many do not
/// come within [`STEP`], fewer are on the wire, and fewer do.
const LAST_MESSAGES: [u64; 4] = [256, 64, 16, 4];

/// See [`LAST_MESSAGES`]. Behind the last step there are less than 16 messages a second.
const STEP: Duration = Duration::from_millis(250);

/// Between two tries to tell the client library something while its task has much to do.
const COMMAND_RETRY: Duration = Duration::from_millis(10);

/// How many messages are in the client library's queue, and how many in the backlog.
pub(super) const CAPACITY: usize = SUBSCRIPTION_CAPACITY / 2;

pub(super) struct Events {
    inbox: Arc<Inbox>,
    statistics: Arc<Statistics>,
    /// How often the client had connected when the subscription was made.
    connects: u64,
}

/// What one subscription has received. Nearly always its reader takes it from the client library's own queue. That is
/// bounded in messages alone, so if the reader falls behind, [`Inbox::relieve`] moves what is there into a queue that is
/// bounded in bytes too.
pub(super) struct Inbox {
    state: Mutex<State>,
    disruptions: Arc<Disruptions>,
}

struct State {
    subscriber: Subscriber,
    /// Ahead of what is in the client library's queue.
    backlog: Backlog<Message>,
    /// How many have been read.
    count: u64,
    /// The client library's queue was found empty since the last [`Inbox::relieve`].
    was_empty: bool,
    /// What comes is moved by who drains.
    is_draining: bool,
}

impl Inbox {
    pub(super) fn new(subscriber: Subscriber, disruptions: Arc<Disruptions>) -> Self {
        let (backlog, count) = (Backlog::new(CAPACITY), 0);
        let state = State { subscriber, backlog, count, was_empty: true, is_draining: false };
        Self { state: Mutex::new(state), disruptions }
    }

    /// To be called every few milliseconds while messages come in.
    pub(super) fn relieve(&self) {
        let mut state = self.state();
        if std::mem::take(&mut state.was_empty) || state.is_draining {
            return;
        }
        // Its waker wakes the reader: there is one for the client library's queue, and this poll takes its place.
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

    /// The client library forgets a subscription at once when it unsubscribes, and drops what is on the wire. So the end
    /// is agreed upon first: after some further messages, as server and client both count them.
    async fn end(&self) {
        self.inbox.state().is_draining = true;
        while self.read().now_or_never() == Some(true) {}
        for further in LAST_MESSAGES {
            // A server that is new counts from the beginning: it would go on when the client has ended.
            if self.statistics.connects.load(Ordering::Relaxed) != self.connects {
                break;
            }
            let last = self.inbox.state().count + further;
            // Fails only when the task that owns the connection is gone, and with it the subscription.
            self.command(|subscriber| subscriber.unsubscribe_after(last).now_or_never().map(drop)).await;
            if timeout(STEP, async { while self.read().await {} }).await.is_ok() {
                return;
            }
        }
        self.command(|subscriber| subscriber.drain().now_or_never().map(drop)).await;
    }

    /// Has the client library do something as soon as there is room on the way to its task.
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
